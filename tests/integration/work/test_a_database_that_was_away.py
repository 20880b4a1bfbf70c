"""A database goes away for a while: whoever asks after its return gets a connection, however long it was gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from shared.db.service import Database
from shared.kernel.errors import Unavailable
from tests.integration.work.conftest import MakeDatabase

AWAY_S = 9.0  # left to itself, the pool would try again after 15 s
FOUND_WITHIN_S = 3.0
CALLERS = 8
IN_THE_POOL = 6


@contextmanager
def away(url: str) -> Iterator[None]:
    """Have the server refuse connections to a database, and end those that it has."""
    base, _, name = url.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_a_database_that_was_away_is_found_again_at_once(url: str, make_database: MakeDatabase) -> None:
    database, over = make_database(), threading.Event()
    reached: list[float] = []

    def call_again_and_again(database: Database) -> None:
        while not over.is_set():
            try:
                database.ping()
            except Unavailable:
                over.wait(0.1)
            else:
                reached.append(time.monotonic())
                over.wait(0.02)

    callers = [threading.Thread(target=call_again_and_again, args=(database,)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        with away(url):
            threading.Event().wait(AWAY_S)
        back = time.monotonic()
        while not [at for at in reached if at >= back]:
            assert time.monotonic() < back + FOUND_WITHIN_S, "nobody has found it"
            threading.Event().wait(0.05)
    finally:
        over.set()
        for caller in callers:
            caller.join()


def test_a_caller_survives_that_every_connection_of_its_pool_is_dead(url: str, make_database: MakeDatabase) -> None:
    database, all_lent = make_database(), threading.Barrier(IN_THE_POOL)

    def hold() -> None:
        with database.transaction() as tx:
            tx.one("SELECT 1 AS one")
            all_lent.wait(30)

    callers = [threading.Thread(target=hold) for _ in range(IN_THE_POOL)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    with away(url):
        pass
    database.ping()
