"""The books as a list, for whoever compares them with something else: entries that moved the node's money, debts and payouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.kernel.owner import Owner

SQL = Queries.beside(__file__)

RECEIVE, PAY_OUT = "receive", "pay_out"
PAGE = 2000
_MOST_FAULTS = 1000


@dataclass(frozen=True)
class NodeEntry:
    """An entry that moved the node's money: `kind` is receive or pay_out, `ref` the payment hash (hex) or the payout's number."""

    kind: str
    ref: str
    node_msat: int


@dataclass(frozen=True)
class BrokenEntry:
    """An entry whose postings do not sum to zero, or that has none."""

    kind: str
    ref: str
    total_msat: int
    is_empty: bool


@dataclass(frozen=True)
class Debtor:
    """An owner to whom the account owes `payable_msat` and the debts `owed_msat`."""

    owner: Owner
    payable_msat: int
    owed_msat: int


@dataclass(frozen=True)
class Bound:
    """The debts that one payout pays or has paid, millisatoshi."""

    open_msat: int = 0
    paid_msat: int = 0


def node_entries(tx: Tx) -> Iterator[NodeEntry]:
    """Yield every entry that moved the node's money, in order."""
    after = 0
    while rows := tx.all(SQL["node_entries"], {"after": after, "page": PAGE}):
        yield from (NodeEntry(row["kind"], row["ref"], row["node_msat"]) for row in rows)
        after = rows[-1]["id"]


def broken_entries(tx: Tx) -> list[BrokenEntry]:
    """Return the entries that do not balance, a thousand at most. Reads all postings."""
    rows = tx.all(SQL["broken_entries"], {"page": _MOST_FAULTS})
    return [BrokenEntry(row["kind"], row["ref"], row["total_msat"], row["is_empty"]) for row in rows]


def disputed_debtors(tx: Tx) -> list[Debtor]:
    """Return the owners whose open debts are not what the account says, a thousand at most."""
    rows = tx.all(SQL["debtors"], {"page": _MOST_FAULTS})
    return [Debtor(Owner(row["owner_kind"], row["owner_id"]), row["payable_msat"], row["owed_msat"]) for row in rows]


def bound_debts(tx: Tx) -> dict[int, Bound]:
    """Return what is bound to each payout, by its number."""
    found: dict[int, Bound] = {}
    while rows := tx.all(SQL["bound_debts"], {"after": max(found, default=0), "page": PAGE}):
        found |= {row["payout_id"]: Bound(int(row["open_msat"] or 0), int(row["paid_msat"] or 0)) for row in rows}
    return found
