"""What the product does with money, one verb a function. Every function runs in the caller's open transaction.

The unique (kind, ref) of an entry is the guard against doing it twice: a repeated call moves nothing and returns False.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.db.service import Tx
from shared.kernel.errors import IntegrityFault
from shared.kernel.owner import Owner
from shared.ledger import store
from shared.ledger.model import Account, Debt, DebtReason, DebtState, Line


def receive(tx: Tx, owner: Owner, *, ref: str, amount_msat: int) -> bool:
    """Book a settled invoice: our node has `amount_msat` more, and it is the owner's. `ref` names the payment."""
    lines = (Line(Account.NODE, amount_msat), Line(Account.CUSTOMER, -amount_msat, owner))
    return _post(tx, "receive", ref, lines) is not None


def earn(tx: Tx, owner: Owner, revenue: Account, *, ref: str, amount_msat: int) -> bool:
    """Turn part of what the owner paid into revenue. `ref` names, within the owner, what was delivered."""
    lines = (Line(Account.CUSTOMER, amount_msat, owner), Line(revenue, -amount_msat))
    if _post(tx, "earn", f"{owner.kind}:{owner.id}:{ref}", lines) is None:
        return False
    _require_covered(tx, owner)
    return True


def owe_back(tx: Tx, owner: Owner, reason: DebtReason, *, ref: str, amount_msat: int) -> bool:
    """Turn part of what the owner paid into a debt; an amount of 0 owes nothing. `ref` is unique within owner and reason."""
    if amount_msat == 0:
        return False
    lines = (Line(Account.CUSTOMER, amount_msat, owner), Line(Account.DEBTS_PAYABLE, -amount_msat, owner))
    entry_id = _post(tx, "owe", f"{owner.kind}:{owner.id}:{reason}:{ref}", lines)
    if entry_id is None:
        return False
    store.owe(tx, owner, reason, ref=ref, amount_msat=amount_msat, entry_id=entry_id)
    _require_covered(tx, owner)
    return True


def held(tx: Tx, owner: Owner) -> int:
    """Return what the owner paid and nobody has earned or owed back yet, millisatoshi."""
    return -store.balance(tx, Account.CUSTOMER, owner)


def debts(tx: Tx, owner: Owner) -> list[Debt]:
    """Return the owner's debts, oldest first."""
    return store.debts(tx, owner)


def owed(tx: Tx, owner: Owner) -> int:
    """Return the sum of the owner's open debts, millisatoshi."""
    return sum(debt.amount_msat for debt in debts(tx, owner) if debt.state is DebtState.OPEN)


def totals(tx: Tx) -> dict[Account, int]:
    """Return each account's sum, millisatoshi."""
    return store.totals(tx)


def _post(tx: Tx, kind: str, ref: str, lines: Sequence[Line]) -> int | None:
    """Post an entry once. A repetition moves nothing; the same name for another amount is a fault, never ignored."""
    entry_id = store.post(tx, kind, ref, lines)
    if entry_id is None and store.posted_msat(tx, kind, ref) != lines[0].amount_msat:
        raise IntegrityFault(f"the entry {kind} {ref} was posted before with another amount")
    return entry_id


def _require_covered(tx: Tx, owner: Owner) -> None:
    """Refuse to have moved more than the owner paid. The caller holds the owner's row lock."""
    if held(tx, owner) < 0:
        raise IntegrityFault(f"more was moved than this {owner.kind} had paid")
