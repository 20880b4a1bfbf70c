"""Payouts on a real PostgreSQL against the sandbox nodes: the product's own parts, with a clock that can be put forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lightning.lightning_process import LightningProcess
from tests.integration.payouts.till import Till
from tests.integration.work.conftest import cluster, url  # noqa: F401 - fixtures are found by their names


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightningProcess]:
    """The merchant's node and its customer's."""
    running = LightningProcess(tmp_path_factory.mktemp("nodes"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def till(url: str, nodes: LightningProcess, tmp_path: Path) -> Iterator[Till]:  # noqa: F811 - the fixture
    """The desk that pays. At its end nothing is paid that the books do not hold, and the other way round."""
    opened = Till(url, nodes, folder=tmp_path)
    yield opened
    nodes.control.delete("/faults").raise_for_status()
    nodes.command("/fees", base_msat=0, ppm=0)
    nodes.command("/down", node="lnd", down=False)
    opened.require_true_books()
    opened.close()
