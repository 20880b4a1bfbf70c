"""A database for each test, one Valkey, two simulated models: one that runs go to, one to fall back on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devstack.crew import Crew, Role
from devstack.home import Home
from devstack.ports import Ports
from devstack.readiness import await_all
from devstack.valkey import Valkey
from tests.integration.inference.engine_bench import EngineBench
from tests.integration.llm.sim_process import SimProcess
from tests.integration.work.conftest import TEMPLATE, Cluster, cluster  # noqa: F401 - fixtures are found by their names


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = Home(tmp_path_factory.mktemp("valkey"))
    valkey = Valkey(
        home.folder / "valkey", Ports(home.folder / "ports.json").of("valkey"), "not-a-secret", home.log("valkey")
    )
    crew = Crew(home, on_event=lambda _line: None)
    try:
        process = crew.start(valkey.prepare(), Role.STORE)
        await_all({process: valkey.is_healthy}, timeout_s=30)
        yield valkey.url
    finally:
        crew.stop()


@pytest.fixture(scope="session")
def sims() -> Iterator[tuple[SimProcess, SimProcess]]:
    both = SimProcess(), SimProcess()
    yield both
    for sim in both:
        assert sim.stop() == 0


@pytest.fixture(scope="session")
def make_bench(
    cluster: Cluster,  # noqa: F811 - the fixture
    redis_url: str,
    sims: tuple[SimProcess, SimProcess],
) -> Iterator[Callable[..., EngineBench]]:
    """Makes an engine with settings of its own, on a database of its own."""
    made: list[EngineBench] = []

    def make(**settings: Any) -> EngineBench:
        own_redis = f"{redis_url.removesuffix('/0')}/{len(made)}"
        bench = EngineBench(cluster.create(template=TEMPLATE), own_redis, *sims, **settings)
        made.append(bench)
        bench.worker.probing.sync()
        return bench

    yield make
    for bench in made:
        bench.close()


@pytest.fixture(scope="session")
def shared_bench(make_bench: Callable[..., EngineBench]) -> EngineBench:
    return make_bench()


@pytest.fixture
def bench(shared_bench: EngineBench) -> Iterator[EngineBench]:
    """The engine that most tests share: each looks at runs of its own. Its nodes were heard of just now, and no fault stands."""
    shared_bench.speak_for_nodes()
    yield shared_bench
    for sim in (shared_bench.sim, shared_bench.spare):
        sim.control.delete("/faults").raise_for_status()
