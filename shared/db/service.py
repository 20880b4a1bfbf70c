"""The pool and the transaction. One transaction is one unit of truth; callbacks run only after it has committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog
from psycopg import errors as pg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.kernel.errors import Unavailable
from shared.kernel.failpoints import reach

log = structlog.get_logger(__name__)

Row = dict[str, Any]
Parameters = Mapping[str, Any]

# Every statement here is short: compiling one just in time costs more than running it.
_OPTIONS = "-c statement_timeout=15000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000 -c TimeZone=UTC -c jit=off"
_ANSWER_WITHIN_S = 20.0
_SIGN_OF_LIFE_WITHIN_S = 2.0
# The pool waits twice as long after each try, so it would be away for as long again as the server was. Once it has given a
# connection up, whoever asks for one next has it try at once.
_RECONNECT_FOR_S = 3.0
# Another try may succeed: the server is away, restarting, failing over, or somebody else holds the lock.
_TRY_AGAIN = (
    PoolTimeout,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.DeadlockDetected,
    pg.SerializationFailure,
    pg.ReadOnlySqlTransaction,
    pg.IdleInTransactionSessionTimeout,
)


class Tx:
    """An open transaction. Rooms run named statements through it; nobody commits but `Database.transaction`."""

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection
        self._after_commit: list[Callable[[], None]] = []

    def one(self, sql: str, parameters: Parameters | None = None) -> Row | None:
        """Run a statement and return its only row, or None."""
        return self._connection.execute(sql, parameters).fetchone()

    def all(self, sql: str, parameters: Parameters | None = None) -> list[Row]:
        """Run a statement and return its rows."""
        return self._connection.execute(sql, parameters).fetchall()

    def run(self, sql: str, parameters: Parameters | None = None) -> int:
        """Run a statement and return how many rows it touched."""
        return self._connection.execute(sql, parameters).rowcount

    def many(self, sql: str, rows: Sequence[Parameters]) -> None:
        """Run one statement for each of `rows`."""
        with self._connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    def copy(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Bulk-load `rows` through a `COPY … FROM STDIN` statement."""
        with self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the block alone where it raises, with what it wanted called after the commit; the transaction goes on."""
        callbacks = len(self._after_commit)
        try:
            with self._connection.transaction():
                yield
        except BaseException:
            del self._after_commit[callbacks:]
            raise

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once this transaction has committed; its failure is logged and changes nothing."""
        self._after_commit.append(callback)

    def committed(self) -> None:
        """Run the callbacks. Called by `Database.transaction` alone."""
        for callback in self._after_commit:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - a nudge that fails costs one poll, never the commit
                log.warning("after_commit_failed", error=type(error).__name__)


class _Bounded(psycopg.Connection[DictRow]):
    """A connection that gives up on a peer which takes bytes and answers none: a pooler or proxy in between keeps TCP content.

    Above the server's own `statement_timeout`, so that only a connection that is dead meets it.
    """

    answer_within_s = _ANSWER_WITHIN_S

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does, but never for ever. Raises `psycopg.OperationalError`, the connection closed."""
        try:
            return super().wait(gen, interval, self.answer_within_s if timeout is None else timeout)
        except pg._WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError("no answer on an open connection") from error


class Database:
    """A lazily opened pool. Build it anywhere; it connects on first use, so after any fork."""

    def __init__(self, url: str, *, pool_size: int, application_name: str) -> None:
        self._pool: ConnectionPool[_Bounded] = ConnectionPool(
            url,
            connection_class=_Bounded,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=5,
            reconnect_timeout=_RECONNECT_FOR_S,
            max_lifetime=1800,
            check=self._begin,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "options": _OPTIONS,
                "application_name": application_name,
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20000,
            },
        )
        self._opened = False

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Open a transaction; commit at the end of the block, roll back on an exception.

        Raises `Unavailable` where the database cannot be reached or a lock could not be had in time. An error out of the
        commit itself leaves the outcome unknown: never compensate, run again from the claim (unique keys decide).
        """
        try:
            with self._begun() as connection:
                tx = Tx(connection)
                yield tx
                reach("before:db.commit")
                connection.commit()  # not left to the pool's block, which says nothing where the connection is closed
            reach("after:db.commit")
        except _TRY_AGAIN as error:
            raise Unavailable("the database does not answer", retry_after_s=2) from error
        tx.committed()

    def ping(self) -> None:
        """Run one trivial statement. Raises `Unavailable`."""
        with self.transaction() as tx:
            tx.one("SELECT 1 AS one")

    def close(self) -> None:
        """Close every connection."""
        if self._opened:
            self._pool.close()

    def _begin(self, connection: _Bounded) -> None:
        """Begin a transaction, which also shows whether a pooled connection is alive, sooner than a statement would.

        The pool's check: where it fails nothing has happened yet, and the pool tries another connection. What killed one has
        most likely killed all, and the pool pauses ever longer between tries: after four dead ones its caller would have
        waited in vain. So it lets go of all that lie idle.
        """
        connection.answer_within_s = _SIGN_OF_LIFE_WITHIN_S
        try:
            connection.execute("BEGIN")
        except psycopg.OperationalError:
            self._pool.drain()
            raise
        finally:
            connection.answer_within_s = _ANSWER_WITHIN_S

    @contextmanager
    def _begun(self) -> Iterator[psycopg.Connection[DictRow]]:
        """Lend a connection in a transaction that `_begin` began; the pool rolls back what is not committed."""
        if not self._opened:
            self._pool.open()
            self._opened = True
        with self._pool.connection() as connection:
            yield connection
