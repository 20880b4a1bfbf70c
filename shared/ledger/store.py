"""Entries, postings and debts in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db.model import Queries
from shared.db.service import Tx
from shared.kernel.owner import Owner
from shared.ledger.model import Account, Debt, DebtReason, DebtState, Line

SQL = Queries.beside(__file__)


def post(tx: Tx, kind: str, ref: str, lines: Sequence[Line]) -> int | None:
    """Insert an entry with its lines; None where (kind, ref) was posted before."""
    row = tx.one(SQL["post_entry"], {"kind": kind, "ref": ref})
    if row is None:
        return None
    tx.many(SQL["post_line"], [{"entry_id": row["id"], **_line(line)} for line in lines])
    return int(row["id"])


def posted_msat(tx: Tx, kind: str, ref: str) -> int:
    """Return the amount that the entry (kind, ref) moved, millisatoshi."""
    row = tx.one(SQL["posted_msat"], {"kind": kind, "ref": ref})
    return 0 if row is None else int(row["amount_msat"])


def owe(tx: Tx, owner: Owner, reason: DebtReason, *, ref: str, amount_msat: int, entry_id: int) -> None:
    """Insert a debt row for an entry that moved the money to debts payable."""
    key = {"kind": owner.kind, "id": owner.id, "reason": reason, "ref": ref}
    tx.run(SQL["owe"], {**key, "amount_msat": amount_msat, "entry_id": entry_id})


def balance(tx: Tx, account: Account, owner: Owner) -> int:
    """Return the sum of the owner's postings in `account`, millisatoshi."""
    row = tx.one(SQL["balance"], {"account": account, "kind": owner.kind, "id": owner.id})
    return 0 if row is None else int(row["balance_msat"])


def debts(tx: Tx, owner: Owner) -> list[Debt]:
    """Return the owner's debts, oldest first."""
    rows = tx.all(SQL["debts"], {"kind": owner.kind, "id": owner.id})
    return [
        Debt(row["id"], owner, DebtReason(row["reason"]), row["amount_msat"], DebtState(row["state"])) for row in rows
    ]


def totals(tx: Tx) -> dict[Account, int]:
    """Return each account's sum, millisatoshi. Together they are zero."""
    return {Account(row["account"]): int(row["amount_msat"]) for row in tx.all(SQL["totals"])}


def _line(line: Line) -> dict[str, object]:
    owner_kind, owner_id = (line.owner.kind, line.owner.id) if line.owner else (None, None)
    return {"account": line.account, "owner_kind": owner_kind, "owner_id": owner_id, "amount_msat": line.amount_msat}
