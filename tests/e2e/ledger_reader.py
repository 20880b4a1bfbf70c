"""The books, read from the tables themselves, beside the product's own code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row


@dataclass(frozen=True)
class Book:
    """The money of one job in millisatoshi. `owed` by reason; `held` is neither earned nor owed back; `paid_out` was owed once."""

    received: int = 0
    held: int = 0
    earned_eval: int = 0
    earned_work: int = 0
    owed: dict[str, int] = field(default_factory=dict)
    paid_out: int = 0


class LedgerReader:
    """Reads one stack's database. Jobs are named by their public ids."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def reconnect(self) -> bool:
        """Connect anew, after the server went away; tell whether it is back."""
        self._connection.close()
        try:
            self._connection = self._connect()
        except psycopg.OperationalError:
            return False
        return True

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return what a query finds."""
        return self._connection.execute(sql.encode(), parameters).fetchall()

    def one(self, sql: str, **parameters: Any) -> Any:
        """Return the first column of the first row."""
        return next(iter(self.rows(sql, **parameters)[0].values()))

    # -- one job

    def row_id(self, job_id: str) -> int:
        """Return the job's internal number."""
        return int(self.one("SELECT id FROM jobs WHERE public_id = %(job)s", job=job_id))

    def state(self, job_id: str) -> str:
        """Return the job's state without asking the service, which would nudge it."""
        return str(self.one("SELECT state FROM jobs WHERE public_id = %(job)s", job=job_id))

    def book(self, job_id: str) -> Book:
        """Return the job's money, all of it as of one moment."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return self._book(self.row_id(job_id))

    def receipts(self, job_id: str) -> list[dict[str, Any]]:
        """Return the bodies of the job's receipts."""
        rows = self.rows(
            "SELECT body FROM receipts WHERE owner_kind = 'job' AND owner_id = %(id)s ORDER BY id",
            id=self.row_id(job_id),
        )
        return [json.loads(row["body"]) for row in rows]

    def moves(self, job_id: str) -> list[str]:
        """Return the states that the job went through, in order."""
        rows = self.rows(
            "SELECT to_state FROM events WHERE owner_kind = 'job' AND owner_id = %(id)s AND to_state IS NOT NULL ORDER BY seq",
            id=self.row_id(job_id),
        )
        return [row["to_state"] for row in rows]

    def step(self, job_id: str, name: str) -> dict[str, Any]:
        """Return one step of the job: state, attempts, fence."""
        return self.rows(
            "SELECT state, attempts, fence FROM steps WHERE owner_kind = 'job' AND owner_id = %(id)s AND name = %(name)s",
            id=self.row_id(job_id),
            name=name,
        )[0]

    def payment_hash(self, job_id: str, purpose: str) -> str:
        """Return the payment hash of the job's `eval` or `work` invoice, in hex."""
        found = self.one(
            "SELECT payment_hash FROM invoices WHERE owner_kind = 'job' AND owner_id = %(id)s AND purpose = %(purpose)s",
            id=self.row_id(job_id),
            purpose=purpose,
        )
        return bytes(found).hex()

    # -- all of it

    def unbalanced_entries(self) -> list[int]:
        """Return the entries whose postings do not sum to zero."""
        rows = self.rows("SELECT entry_id FROM postings GROUP BY entry_id HAVING sum(amount_msat) <> 0")
        return [row["entry_id"] for row in rows]

    def total(self, account: str | None = None) -> int:
        """Return the sum of one account, or of all: the latter is zero."""
        return int(
            self.one(
                "SELECT coalesce(sum(amount_msat), 0)::bigint FROM postings"
                " WHERE %(account)s::text IS NULL OR account = %(account)s",
                account=account,
            )
        )

    def counts(self) -> dict[str, int]:
        """Return how many rows each table of a job's life holds."""
        tables = ("jobs", "invoices", "entries", "steps", "outbox", "receipts", "debts")
        return {table: int(self.one(f"SELECT count(*) FROM {table}")) for table in tables}  # noqa: S608 - our own names

    def _connect(self) -> psycopg.Connection[DictRow]:
        return psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=5)

    def _book(self, row_id: int) -> Book:
        postings = self.rows(
            "SELECT kind, account, -amount_msat AS msat FROM postings JOIN entries ON entries.id = entry_id WHERE entry_id IN"
            " (SELECT entry_id FROM postings WHERE owner_kind = 'job' AND owner_id = %(id)s)",
            id=row_id,
        )
        debts = self.rows(
            "SELECT reason, sum(amount_msat)::bigint AS msat FROM debts"
            " WHERE owner_kind = 'job' AND owner_id = %(id)s AND state = 'open' GROUP BY reason",
            id=row_id,
        )

        def grown(account: str, *kinds: str) -> int:
            """Liabilities and revenues grow with negative amounts, which the query has turned."""
            return sum(
                posting["msat"]
                for posting in postings
                if posting["account"] == account and (not kinds or posting["kind"] in kinds)
            )

        book = Book(
            received=grown("customer", "receive"),
            held=grown("customer"),
            earned_eval=grown("revenue_eval"),
            earned_work=grown("revenue_work"),
            owed={debt["reason"]: debt["msat"] for debt in debts},
            paid_out=-grown("debts_payable", "pay_out"),
        )
        assert grown("debts_payable") == sum(book.owed.values()), "the debts and the account they stand in differ"
        return book
