"""Quotas on a real PostgreSQL; plans that are bought on it, with a real Valkey and the sandbox nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.inference.conftest import redis_url  # noqa: F401 - fixtures are found by their names
from tests.integration.lightning.lightning_process import LightningProcess
from tests.integration.plans.shop import Shop
from tests.integration.work.conftest import cluster, database, make_database, url  # noqa: F401


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightningProcess]:
    """The merchant's node and its customer's."""
    running = LightningProcess(tmp_path_factory.mktemp("nodes"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def shop(url: str, redis_url: str, nodes: LightningProcess, tmp_path: Path) -> Iterator[Shop]:  # noqa: F811
    """Where plans are bought. At the end its books and the node's are the same."""
    opened = Shop(url, redis_url, nodes)
    yield opened
    nodes.control.delete("/faults").raise_for_status()
    nodes.command("/down", node="lnd", down=False)
    opened.require_true_books()
    opened.close()
