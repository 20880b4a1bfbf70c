"""What only tests of the whole stack need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devstack.supervisor import Stack
from tests.e2e.gateway_hand import Gateway, open_gateway


@pytest.fixture(scope="session")
def _open_gateway(stack: Stack) -> Iterator[Gateway]:
    with open_gateway(stack) as gateway:
        yield gateway


@pytest.fixture
def gateway(_open_gateway: Gateway) -> Iterator[Gateway]:
    """The gateway of the stack, its callers and the tester's eyes; every process runs again after each test."""
    yield _open_gateway
    _open_gateway.model.heal()
    for process in _open_gateway.stack.processes.values():
        process.start()
