"""What the product does with money, one verb a function. Every function runs in the caller's open transaction.

The unique (kind, ref) of an entry is the guard against doing it twice: a repeated call moves nothing and returns False.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.db.service import Tx
from shared.kernel.errors import IntegrityFault
from shared.kernel.money import MSAT_PER_SAT
from shared.kernel.owner import Owner
from shared.ledger import store
from shared.ledger.model import Account, Debt, DebtReason, DebtState, Line, ReservationState


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


def bind(tx: Tx, owner: Owner, *, payout_id: int, amount_msat: int) -> None:
    """Bind all of the owner's free debts to a payout of their whole sats. The caller holds the owner's row lock.

    Raises `IntegrityFault` where `amount_msat` is not just that.
    """
    bound_msat = store.bind_debts(tx, owner, payout_id=payout_id)
    if bound_msat // MSAT_PER_SAT * MSAT_PER_SAT != amount_msat:
        raise IntegrityFault("a payout is for the whole sats of what is owed, no more and no less")


def unbind(tx: Tx, *, payout_id: int) -> None:
    """Let go of the debts of a payout that failed: they can be claimed again."""
    store.unbind_debts(tx, payout_id=payout_id)


def pay_out(tx: Tx, owner: Owner, *, payout_id: int, amount_msat: int, fee_msat: int) -> bool:
    """Book a payout that the node has paid: debts payable and our node go down, the routing fee is ours.

    What the payout could not carry (less than a sat) stays a debt of its own. The caller holds the owner's row lock.
    """
    lines = [Line(Account.DEBTS_PAYABLE, amount_msat, owner), Line(Account.NODE, -amount_msat)]
    if fee_msat:
        lines += [Line(Account.ROUTING_FEES, fee_msat), Line(Account.NODE, -fee_msat)]
    entry_id = _post(tx, "pay_out", str(payout_id), lines)
    if entry_id is None:
        return False
    rest_msat = store.pay_debts(tx, payout_id=payout_id) - amount_msat
    if not 0 <= rest_msat < MSAT_PER_SAT:
        raise IntegrityFault("a payout paid another sum than its debts")
    if rest_msat:
        store.owe(tx, owner, DebtReason.REST, ref=str(payout_id), amount_msat=rest_msat, entry_id=entry_id)
    return True


def reserve(tx: Tx, owner: Owner, *, ref: str, amount_msat: int, life_s: float) -> bool:
    """Speak for part of the owner's balance; False where less is available. The caller holds the owner's row lock.

    `life_s`: after so many seconds somebody should look why it is still open; it holds until it is ended.
    """
    if available(tx, owner) < amount_msat:
        return False
    store.reserve(tx, owner, ref=ref, amount_msat=amount_msat, life_s=life_s)
    return True


def settle(tx: Tx, owner: Owner, *, ref: str) -> None:
    """End a reservation whose actual cost the caller earns in this transaction."""
    _end(tx, owner, ref, ReservationState.SETTLED)


def release(tx: Tx, owner: Owner, *, ref: str) -> None:
    """End a reservation of which nothing was used."""
    _end(tx, owner, ref, ReservationState.RELEASED)


def reserved(tx: Tx, owner: Owner) -> int:
    """Return the sum of the owner's open reservations, millisatoshi."""
    return store.reserved(tx, owner)


def available(tx: Tx, owner: Owner) -> int:
    """Return what the owner holds and nothing is reserved for, millisatoshi."""
    return held(tx, owner) - reserved(tx, owner)


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


def _end(tx: Tx, owner: Owner, ref: str, state: ReservationState) -> None:
    if store.end_reservation(tx, owner, ref=ref, state=state) is None:
        raise IntegrityFault("a reservation ends once")


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
