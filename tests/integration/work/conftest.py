"""A PostgreSQL of our own, and in it a migrated database for each test, cloned from one template."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from devstack.crew import Crew, Role
from devstack.home import Home
from devstack.ports import Ports
from devstack.postgres import Postgres
from devstack.readiness import await_all
from shared.db.migrations import migrate
from shared.db.service import Database
from shared.kernel.clock import SystemClock
from shared.kernel.ids import Ids
from shared.kernel.signing import SigningKey
from shared.lightning import payout_store
from shared.receipts.log import EpochRules, Log, LogSigner
from shared.receipts.reading import Reading
from shared.receipts.service import Receipts
from shared.work.service import Work, WorkLimits
from tests.integration.work.notary import ORIGIN, SECRET_KEY, Notary

TEMPLATE = "migrated"
_numbers = itertools.count(1)

MakeDatabase = Callable[[], Database]
MakeWork = Callable[..., Work]


class Cluster:
    """One server; `create` makes databases in it."""

    def __init__(self, postgres: Postgres) -> None:
        self._url = postgres.url

    def create(self, *, template: str | None = None, name: str | None = None) -> str:
        """Create a database, empty or a copy of `template`; return its URL."""
        made = name or f"test_{next(_numbers)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made} TEMPLATE {template or 'template0'}".encode())
        url = f"{self._url.rpartition('/')[0]}/{made}"
        if template:  # a copy holds its payouts until somebody says that it is no restored backup
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(payout_store.SQL["accept_database"].encode())
        return url


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = Home(tmp_path_factory.mktemp("postgres"))
    port = Ports(home.folder / "ports.json").of("postgres")
    postgres = Postgres(home.folder / "postgres", port, "not-a-secret", home.log("postgres"))
    crew = Crew(home, on_event=lambda _line: None)
    try:
        served = postgres.prepare()
        # Nothing here has to outlive a power cut, and dozens of databases are slow to flush.
        served = replace(served, arguments=(*served.arguments, "-c", "fsync=off"))
        process = crew.start(served, Role.STORE)
        await_all({process: postgres.is_healthy}, timeout_s=60)
        made = Cluster(postgres)
        migrate(made.create(name=TEMPLATE))
        yield made
    finally:
        crew.stop()


@pytest.fixture
def empty_url(cluster: Cluster) -> str:
    """A database without a schema."""
    return cluster.create()


@pytest.fixture
def url(cluster: Cluster) -> str:
    """A migrated database."""
    return cluster.create(template=TEMPLATE)


@pytest.fixture
def make_database(url: str) -> Iterator[MakeDatabase]:
    """Makes pools on the test's database: each is one process's."""
    made: list[Database] = []

    def make() -> Database:
        made.append(Database(url, pool_size=6, application_name="test"))
        return made[-1]

    yield make
    for database in made:
        database.close()


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database()


@pytest.fixture
def nudges() -> list[str]:
    """Grows by one at each nudge of the relay."""
    return []


@pytest.fixture
def make_work(make_database: MakeDatabase, nudges: list[str]) -> MakeWork:
    """Makes step machines, each with a pool of its own, as if in a process of its own."""

    def make(*, lease_s: float = 60.0, rescue_after_s: float = 30.0, max_attempts: int = 3) -> Work:
        limits = WorkLimits(lease_s, rescue_after_s, max_attempts)
        return Work(make_database(), limits, nudge=lambda: nudges.append("nudge"))

    return make


@pytest.fixture
def work(make_work: MakeWork) -> Work:
    return make_work()


@pytest.fixture
def notary(database: Database, work: Work) -> Notary:
    """Issues receipts and keeps their log."""
    ids, clock = Ids(), SystemClock()
    signer = LogSigner(ORIGIN, b"\x02" * 32)
    receipts = Receipts(
        signer=SigningKey.from_seed(b"\x01" * 32), secret_key=SECRET_KEY, ids=ids, clock=clock, work=work
    )

    def log_with(rules: EpochRules) -> Log:
        return Log(database, signer=signer, rules=rules, ids=ids, work=work)

    return Notary(
        database=database,
        receipts=receipts,
        reading=Reading(database, signer=signer, witness_key=""),
        signer=signer,
        log_with=log_with,
    )
