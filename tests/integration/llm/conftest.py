"""A running simulated model, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sim_process import SimProcess

from shared.kernel.clock import SystemClock
from shared.llm.clients.openai import Upstream


@pytest.fixture(scope="session")
def sim_process() -> Iterator[SimProcess]:
    sim = SimProcess()
    yield sim
    assert sim.stop() == 0


@pytest.fixture
def sim(sim_process: SimProcess) -> Iterator[SimProcess]:
    yield sim_process
    sim_process.control.delete("/faults").raise_for_status()


@pytest.fixture
def upstream_to() -> Iterator[Callable[..., Upstream]]:
    """Make clients with any base URL and limits, closed at the end."""
    made: list[Upstream] = []

    def make(base_url: str, *, key: str = "test-key", **limits: Any) -> Upstream:
        given = {"first_token_s": 10.0, "deadline_s": 20.0, "clock": SystemClock(), **limits}
        upstream = Upstream(base_url, key, **given)
        made.append(upstream)
        return upstream

    yield make
    for upstream in made:
        upstream.close()


@pytest.fixture
def upstream(sim: SimProcess, upstream_to: Callable[..., Upstream]) -> Upstream:
    return upstream_to(sim.base_url)
