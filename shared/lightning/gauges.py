"""What an operator watches of the invoices: how many wait for payment, and whether any outlived its time."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.lightning.model import Purpose

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class InvoiceGauges:
    """Open invoices by purpose. `overdue_s`: seconds since the oldest of them expired; polling ends each soon after that."""

    open: dict[Purpose, int]
    overdue_s: float


def gauges(tx: Tx) -> InvoiceGauges:
    """Read the present figures; a purpose without open invoices reads 0."""
    rows = {Purpose(row["purpose"]): row for row in tx.all(SQL["open_invoices"])}
    return InvoiceGauges(
        open={purpose: rows[purpose]["invoices"] if purpose in rows else 0 for purpose in Purpose},
        overdue_s=max((row["overdue_s"] for row in rows.values()), default=0.0),
    )
