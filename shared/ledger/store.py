"""Entries, postings and debts in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db.model import Queries
from shared.db.service import Tx
from shared.kernel.owner import Owner
from shared.ledger.model import Account, Debt, DebtReason, DebtState, Line, ReservationState

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
        Debt(
            row["id"],
            owner,
            DebtReason(row["reason"]),
            row["amount_msat"],
            DebtState(row["state"]),
            payout_id=row["payout_id"],
        )
        for row in rows
    ]


def bind_debts(tx: Tx, owner: Owner, *, payout_id: int) -> int:
    """Bind the owner's open debts that no payout has to this one; return their sum, millisatoshi."""
    rows = tx.all(SQL["bind_debts"], {"kind": owner.kind, "id": owner.id, "payout_id": payout_id})
    return sum(row["amount_msat"] for row in rows)


def unbind_debts(tx: Tx, *, payout_id: int) -> None:
    """Let go of the debts of a payout that failed."""
    tx.run(SQL["unbind_debts"], {"payout_id": payout_id})


def pay_debts(tx: Tx, *, payout_id: int) -> int:
    """Mark the payout's debts as paid; return their sum, millisatoshi."""
    return sum(row["amount_msat"] for row in tx.all(SQL["pay_debts"], {"payout_id": payout_id}))


def reserve(tx: Tx, owner: Owner, *, ref: str, amount_msat: int, life_s: float) -> None:
    """Insert an open reservation."""
    key = {"kind": owner.kind, "id": owner.id, "ref": ref}
    tx.run(SQL["reserve"], {**key, "amount_msat": amount_msat, "life_s": life_s})


def end_reservation(tx: Tx, owner: Owner, *, ref: str, state: ReservationState) -> int | None:
    """End an open reservation; return its amount in millisatoshi, None where it is not open."""
    row = tx.one(SQL["end_reservation"], {"kind": owner.kind, "id": owner.id, "ref": ref, "state": state})
    return None if row is None else int(row["amount_msat"])


def reserved(tx: Tx, owner: Owner) -> int:
    """Return the sum of the owner's open reservations, millisatoshi."""
    row = tx.one(SQL["reserved"], {"kind": owner.kind, "id": owner.id})
    return 0 if row is None else int(row["reserved_msat"])


def totals(tx: Tx) -> dict[Account, int]:
    """Return each account's sum, millisatoshi. Together they are zero."""
    return {Account(row["account"]): int(row["amount_msat"]) for row in tx.all(SQL["totals"])}


def _line(line: Line) -> dict[str, object]:
    owner_kind, owner_id = (line.owner.kind, line.owner.id) if line.owner else (None, None)
    return {"account": line.account, "owner_kind": owner_kind, "owner_id": owner_id, "amount_msat": line.amount_msat}
