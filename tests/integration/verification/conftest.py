"""A migrated database a bench, one Valkey, one simulated model, and a process from which others are born to die."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from devstack.crew import Crew, Role
from devstack.home import Home
from devstack.ports import Ports
from devstack.readiness import await_all
from devstack.valkey import Valkey
from tests.integration.llm.sim_process import SimProcess
from tests.integration.verification.mortals import Mortals
from tests.integration.verification.verification_bench import VerificationBench, environment
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
def sim() -> Iterator[SimProcess]:
    running = SimProcess()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def mortals() -> Iterator[Mortals]:
    parent = Mortals()
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def make_bench(
    cluster: Cluster,  # noqa: F811 - the fixture
    redis_url: str,
    sim: SimProcess,
) -> Iterator[Callable[..., VerificationBench]]:
    """Makes a bench with settings of its own, on a database of its own."""
    made: list[VerificationBench] = []

    def make(**settings: str) -> VerificationBench:
        own_redis = f"{redis_url.removesuffix('/0')}/{len(made)}"
        own = environment(cluster.create(template=TEMPLATE), own_redis, sim.base_url, **settings)
        made.append(VerificationBench(own, sim))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture(scope="session")
def shared_bench(make_bench: Callable[..., VerificationBench]) -> VerificationBench:
    return make_bench(MAX_ATTEMPTS="1", LEASE_S="0.6", RETENTION_DAYS="7")


@pytest.fixture
def bench(shared_bench: VerificationBench) -> Iterator[VerificationBench]:
    """The bench that most tests share: each looks at verifications of a tenant of its own. A step is tried once."""
    yield shared_bench
    shared_bench.sim.control.delete("/faults").raise_for_status()


@pytest.fixture(scope="session")
def _patient_bench(make_bench: Callable[..., VerificationBench]) -> VerificationBench:
    return make_bench(LEASE_S="0.6")


@pytest.fixture
def patient_bench(_patient_bench: VerificationBench) -> Iterator[VerificationBench]:
    """A bench whose steps are tried as often as in production."""
    yield _patient_bench
    _patient_bench.sim.control.delete("/faults").raise_for_status()
