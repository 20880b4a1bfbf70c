"""A running pair of sandbox Lightning nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning_process import TOTAL_MSAT, LightningProcess


@pytest.fixture(scope="session")
def lightning_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightningProcess]:
    sandbox = LightningProcess(tmp_path_factory.mktemp("lightning"))
    yield sandbox
    assert sandbox.stop() == 0


@pytest.fixture
def sandbox_lightning(lightning_process: LightningProcess) -> Iterator[LightningProcess]:
    """Shared by the tests that leave it running; each leaves it without faults and with all money accounted for."""
    yield lightning_process
    lightning_process.control.delete("/faults").raise_for_status()
    lightning_process.command("/fees", base_msat=0, ppm=0)
    assert lightning_process.health()["total_msat"] == TOTAL_MSAT


@pytest.fixture
def own_sandbox_lightning(tmp_path: Path) -> Iterator[LightningProcess]:
    """For the tests that kill it."""
    sandbox = LightningProcess(tmp_path / "home")
    yield sandbox
    assert sandbox.health()["total_msat"] == TOTAL_MSAT
    assert sandbox.stop() == 0
