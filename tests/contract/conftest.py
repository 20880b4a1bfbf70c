"""One stack for all contract tests: real stores, a sandbox node, workers that open invoices, and the web process itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient

from config.settings import Settings
from devstack.supervisor import Stack
from shared.bootstrap import Container, Role, build
from web.app import create_app
from web.limits import limits_of

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = ("web", "relay", "worker-money", "worker-llm", "worker-inference", "worker-verification")
ADMIN_KEY = "the admin key of the contract tests"
ACCESS = {"ADMIN_KEY": ADMIN_KEY, "ANONYMOUS_PER_MINUTE": "100000", "KEY_PER_MINUTE": "100000"}
"""Every test calls from the same few addresses; those of the limits set limits of their own."""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "PORT": "0", "MAX_UNPAID_INVOICES": "1000", **ACCESS}
    running = Stack(tmp_path_factory.mktemp("contract"), environment, real_model=False, processes=PROCESSES)
    with running:
        yield running


@pytest.fixture(scope="session")
def container(stack: Stack) -> Iterator[Container]:
    built = build(Settings.load(stack.environment), Role.WEB)
    yield built
    built.database.close()
    built.bus.close()  # a process of ours ends with its bus; a test has to close it


@pytest.fixture(scope="session")
def app(container: Container) -> Iterator[Flask]:
    application = create_app(container)
    yield application
    limits_of(application).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def web_url(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.environment['PORT']}"


def contract(name: str) -> dict[str, Any]:
    folder = Path(os.environ.get("LUCID_CONTRACTS") or ROOT.parent / "shared" / "contracts")
    if not (folder / name).exists():
        pytest.skip(f"{name} is not here: set LUCID_CONTRACTS to the folder of the API contracts")
    document: dict[str, Any] = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="session")
def agent_contract() -> dict[str, Any]:
    return contract("agent-jobs.openapi.yaml")


@pytest.fixture(scope="session")
def gateway_contract() -> dict[str, Any]:
    return contract("lucidlayer-full.openapi.yaml")
