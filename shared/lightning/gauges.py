"""What an operator watches of the invoices and payouts: how many wait, and whether any takes too long."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.lightning import payout_store
from shared.lightning.model import PayoutState, Purpose
from shared.lightning.payouts import OPEN

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class InvoiceGauges:
    """Open invoices by purpose. `overdue_s`: seconds since the oldest of them expired; polling ends each soon after that."""

    open: dict[Purpose, int]
    overdue_s: float


@dataclass(frozen=True)
class PayoutGauges:
    """Payouts by state. `open_s`: seconds since the oldest that has not ended was claimed; `review`: how many need an operator.

    `are_held`: this database was restored, copied or promoted, and nobody has accepted it since.
    """

    payouts: dict[PayoutState, int]
    open_s: float
    review: int
    are_held: bool

    @property
    def open(self) -> int:
        """How many have not ended."""
        return sum(self.payouts[state] for state in OPEN)


def gauges(tx: Tx) -> InvoiceGauges:
    """Read the present figures; a purpose without open invoices reads 0."""
    rows = {Purpose(row["purpose"]): row for row in tx.all(SQL["open_invoices"])}
    return InvoiceGauges(
        open={purpose: rows[purpose]["invoices"] if purpose in rows else 0 for purpose in Purpose},
        overdue_s=max((row["overdue_s"] for row in rows.values()), default=0.0),
    )


def payout_gauges(tx: Tx) -> PayoutGauges:
    """Read the present figures; a state without payouts reads 0."""
    rows = {PayoutState(row["state"]): row for row in tx.all(SQL["payouts_by_state"])}
    return PayoutGauges(
        payouts={state: rows[state]["payouts"] if state in rows else 0 for state in PayoutState},
        open_s=max((row["oldest_s"] for state, row in rows.items() if state in OPEN), default=0.0),
        review=sum(row["review"] for state, row in rows.items() if state in OPEN),
        are_held=payout_store.is_other_database(tx),
    )
