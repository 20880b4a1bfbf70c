"""The real Celery application on nodes of its own: one Valkey, one worker, and a migrated database behind it."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from pytest_celery import CeleryBrokerCluster, RedisTestBroker

from config.celery import CELERY
from devstack.parts import ROOT
from devstack.procfile import read_procfile
from devstack.supervisor import Stack
from devstack.valkey import server_binary
from tests.integration.courier.local_process import LocalRedis, LocalWorker

WORKER = "worker-tick"


@pytest.fixture(scope="session")
def foundation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL at our schema, and whatever else a worker's settings must name."""
    home = tmp_path_factory.mktemp("courier")
    with Stack(home, {"PATH": _path(), "PORT": "0", "LUCID_LLM": "sim"}, real_model=False, processes=()) as stack:
        yield stack


@pytest.fixture
def default_redis_broker(tmp_path: Path) -> LocalRedis:
    """A Valkey that these tests may kill. Ended by the broker node's teardown."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--dir", str(tmp_path)]
    redis = LocalRedis([str(server_binary()), *options], port=port, folder=tmp_path)
    redis.ready()
    return redis


@pytest.fixture
def celery_broker_cluster(celery_redis_broker: RedisTestBroker) -> Iterator[CeleryBrokerCluster]:
    """One broker instead of the plugin's matrix."""
    cluster = CeleryBrokerCluster(celery_redis_broker)
    yield cluster
    cluster.teardown()


@pytest.fixture
def celery_backend_cluster() -> None:
    """We have no result backend."""


@pytest.fixture
def default_worker_container(
    foundation: Stack,
    celery_broker_cluster: CeleryBrokerCluster,
    database: psycopg.Connection[Any],  # emptied before the worker sings
    tmp_path: Path,
) -> LocalWorker:
    """The Procfile's tick worker. Ended by the worker node's teardown."""
    line = read_procfile(ROOT / "Procfile")[WORKER].removeprefix("exec ")
    command = [str(Path(sys.executable).with_name("celery")), *shlex.split(line)[1:]]
    broker_url = celery_broker_cluster[0].container.host_url
    environment = foundation.environment | {"REDIS_URL": broker_url}
    worker = LocalWorker(command, environment=environment, folder=tmp_path)
    worker.ready()
    return worker


@pytest.fixture
def default_worker_app(celery_setup_app: Celery) -> Celery:
    """The sender's side, with the product's own settings."""
    celery_setup_app.conf.update({name: value for name, value in CELERY.items() if name != "imports"})
    return celery_setup_app


@pytest.fixture
def database(foundation: Stack) -> Iterator[psycopg.Connection[Any]]:
    """Where a consumed task leaves its trace."""
    with psycopg.connect(foundation.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("TRUNCATE canaries")
        yield connection


def _path() -> str:
    return f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
