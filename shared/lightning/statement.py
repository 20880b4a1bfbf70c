"""Our rows of money in and money out as lists, for whoever compares them with the node's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.lightning.model import PayoutState

SQL = Queries.beside(__file__)

PAGE = 2000


@dataclass(frozen=True)
class SettledRow:
    """An invoice that counts as money here."""

    payment_hash: bytes
    paid_msat: int
    settle_index: int


@dataclass(frozen=True)
class PayoutRow:
    """A payout as it stands here. `moved_at`: when it was handed to the node, or created where it never was."""

    id: int
    payment_hash: bytes
    state: PayoutState
    amount_msat: int
    fee_msat: int | None
    preimage: bytes | None
    moved_at: datetime


def settled_rows(tx: Tx) -> Iterator[SettledRow]:
    """Yield every settled invoice."""
    for row in _rows(tx, SQL["settled_rows"]):
        yield SettledRow(row["payment_hash"], row["paid_msat"], row["settle_index"])


def payout_rows(tx: Tx) -> Iterator[PayoutRow]:
    """Yield every payout, whatever its state."""
    for row in _rows(tx, SQL["payout_rows"]):
        yield PayoutRow(
            id=row["id"],
            payment_hash=row["payment_hash"],
            state=PayoutState(row["state"]),
            amount_msat=row["amount_msat"],
            fee_msat=row["fee_msat"],
            preimage=row["preimage"],
            moved_at=row["moved_at"],
        )


def _rows(tx: Tx, statement: str) -> Iterator[Row]:
    after = 0
    while rows := tx.all(statement, {"after": after, "page": PAGE}):
        yield from rows
        after = rows[-1]["id"]
