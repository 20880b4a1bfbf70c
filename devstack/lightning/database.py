"""The one SQLite file behind both nodes. Every change is one transaction; nobody sees half of one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_MSAT = 10_000_000_000
ROUTERS = "routers"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS nodes (
    name          TEXT PRIMARY KEY,
    private_key   BLOB NOT NULL,
    root_key      BLOB NOT NULL,
    macaroons     TEXT NOT NULL,
    add_index     INTEGER NOT NULL DEFAULT 0,
    settle_index  INTEGER NOT NULL DEFAULT 0,
    payment_index INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS accounts (
    name         TEXT PRIMARY KEY,
    balance_msat INTEGER NOT NULL CHECK (balance_msat >= 0)
) STRICT;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS invoices (
    node             TEXT NOT NULL REFERENCES nodes (name),
    payment_hash     BLOB NOT NULL CHECK (length(payment_hash) = 32),
    preimage         BLOB NOT NULL CHECK (length(preimage) = 32),
    payment_addr     BLOB NOT NULL,
    payment_request  TEXT NOT NULL,
    memo             TEXT NOT NULL,
    description_hash BLOB NOT NULL,
    value_msat       INTEGER NOT NULL CHECK (value_msat >= 0),
    created_at       INTEGER NOT NULL,
    expiry_s         INTEGER NOT NULL,
    cltv_expiry      INTEGER NOT NULL,
    is_private       INTEGER NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('OPEN', 'SETTLED', 'CANCELED')),
    add_index        INTEGER NOT NULL,
    settle_index     INTEGER NOT NULL DEFAULT 0,
    settled_at       INTEGER NOT NULL DEFAULT 0,
    amt_paid_msat    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (node, payment_hash),
    UNIQUE (node, add_index),
    CHECK ((state = 'SETTLED') = (settle_index > 0))
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS invoices_settled ON invoices (node, settle_index) WHERE settle_index > 0;
CREATE INDEX IF NOT EXISTS invoices_open ON invoices (created_at + expiry_s) WHERE state = 'OPEN';
CREATE TABLE IF NOT EXISTS payments (
    node            TEXT NOT NULL REFERENCES nodes (name),
    payment_hash    BLOB NOT NULL CHECK (length(payment_hash) = 32),
    payment_index   INTEGER NOT NULL,
    payment_request TEXT NOT NULL,
    payee           TEXT NOT NULL,
    value_msat      INTEGER NOT NULL CHECK (value_msat > 0),
    fee_msat        INTEGER NOT NULL CHECK (fee_msat >= 0),
    held_msat       INTEGER NOT NULL DEFAULT 0 CHECK (held_msat >= 0),
    status          INTEGER NOT NULL CHECK (status IN (1, 2, 3, 4)),
    failure_reason  INTEGER NOT NULL DEFAULT 0,
    preimage        BLOB NOT NULL DEFAULT x'',
    created_ns      INTEGER NOT NULL,
    resolved_ns     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (node, payment_hash),
    UNIQUE (node, payment_index),
    CHECK ((status = 1) = (held_msat > 0)),
    CHECK ((status = 2) = (length(preimage) = 32))
) STRICT;
"""


class Transaction:
    """A change under way. What it announces is heard only if it commits, and in commit order."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.announced: list[Any] = []

    def run(self, statement: str, *values: Any) -> None:
        """Execute one statement."""
        self._connection.execute(statement, values)

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row, if there is one."""
        found: sqlite3.Row | None = self._connection.execute(statement, values).fetchone()
        return found

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return every row."""
        return self._connection.execute(statement, values).fetchall()

    def number(self, statement: str, *values: Any) -> int:
        """Return the first column of the first row as a whole number, 0 where there is none."""
        found = self.row(statement, *values)
        return 0 if found is None or found[0] is None else int(found[0])

    def announce(self, event: Any) -> None:
        """Tell listeners about `event` once this change is durable."""
        self.announced.append(event)


class Database:
    """The file, its schema and its lock. `on_commit` is called with the announced events, still under the lock."""

    def __init__(self, path: Path, *, on_commit: Callable[[list[Any]], None]) -> None:
        self._on_commit = on_commit
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
        self._connection.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a change that commits at the end of the block, or leaves no trace when the block raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            change = Transaction(self._connection)
            try:
                yield change
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            self._on_commit(change.announced)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open a look at the books during which nothing commits."""
        with self._lock:
            yield Transaction(self._connection)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
