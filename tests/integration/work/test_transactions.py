"""What a transaction promises when its connection dies."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from shared.db.service import Database
from shared.kernel.errors import Unavailable

_PUT = "INSERT INTO canaries (queue, seen_at) VALUES (%(queue)s, now())"
_HAS = "SELECT queue FROM canaries ORDER BY queue"
_END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test' AND datname = current_database()"


def _cut(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(_END_ALL)


def _queues(database: Database) -> list[str]:
    with database.transaction() as tx:
        return [row["queue"] for row in tx.all(_HAS)]


def test_a_connection_that_died_while_nobody_used_it_costs_nobody_a_transaction(database: Database, url: str) -> None:
    with database.transaction() as tx:
        tx.run(_PUT, {"queue": "first"})
    _cut(url)
    with database.transaction() as tx:
        tx.run(_PUT, {"queue": "second"})
    assert _queues(database) == ["first", "second"]


def test_a_transaction_that_loses_its_connection_is_never_taken_for_committed(database: Database, url: str) -> None:
    called: list[str] = []

    def go_on_regardless() -> None:
        with database.transaction() as tx:
            tx.after_commit(lambda: called.append("committed"))
            tx.run(_PUT, {"queue": "lost"})
            _cut(url)
            with suppress(psycopg.Error):
                tx.one("SELECT 1 AS one")

    with pytest.raises(Unavailable):
        go_on_regardless()
    assert called == []
    assert _queues(database) == []


def test_what_raises_leaves_nothing_and_gives_its_connection_back(database: Database) -> None:
    def put_and_raise() -> None:
        with database.transaction() as tx:
            tx.run(_PUT, {"queue": "raised"})
            raise KeyError

    for _ in range(10):  # more often than the pool has connections
        with pytest.raises(KeyError):
            put_and_raise()
    assert _queues(database) == []
