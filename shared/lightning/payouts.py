"""Payouts: the rows of money out. Hash and amount are stored, unique, before any node is called; who calls it is `paying`.

A payout is bound to one payment request for ever. Whether it was paid is only ever learnt from the node's answer about its
payment hash, so the worst that can happen to one is that it takes long.
"""

from __future__ import annotations

from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.money import MSAT_PER_SAT
from shared.kernel.owner import Owner
from shared.kernel.transitions import next_state
from shared.lightning import payout_store as store
from shared.lightning.model import PAYOUT_TRANSITIONS, Payable, Payout, PayoutEnd, PayoutEvent, PayoutState
from shared.work.model import StepRef
from shared.work.service import Work

PAYOUT = "payout"
SEND = "send"
OPEN = frozenset({PayoutState.INTENDED, PayoutState.SENDING, PayoutState.UNKNOWN})
SENT = frozenset({PayoutState.SENDING, PayoutState.UNKNOWN})
_LEAST_FEE_LIMIT_MSAT = MSAT_PER_SAT
_FEE_LIMIT_PARTS = 100  # one percent


class Payouts:
    """The payout desk. It knows no node, so every process may have it."""

    def __init__(self, *, events: Events, work: Work) -> None:
        self._events = events
        self._work = work

    # -- reading

    def by_id(self, tx: Tx, payout_id: int) -> Payout:
        """Return one payout."""
        payout = store.by_id(tx, payout_id)
        if payout is None:
            raise IntegrityFault("a step without its payout")
        return payout

    def by_hash(self, tx: Tx, payment_hash: bytes) -> Payout | None:
        """Return the payout with this payment hash, whoever's it is."""
        return store.by_hash(tx, payment_hash)

    def of_owner(self, tx: Tx, owner: Owner) -> list[Payout]:
        """Return the owner's payouts, oldest first."""
        return store.of_owner(tx, owner)

    def are_held(self, tx: Tx) -> bool:
        """Tell whether first hand-overs wait: this database is not the one that was migrated or accepted last."""
        return store.is_other_database(tx)

    def accept_database(self, tx: Tx) -> None:
        """Take this database for the one that pays: an operator's word that what it calls owed is owed."""
        store.accept_database(tx)

    # -- moving; the caller holds the owner's row lock, or the claim on the payout's step

    def intend(self, tx: Tx, owner: Owner, payable: Payable) -> Payout | None:
        """Store a payout and start its step; None where this payment hash was stored before, or the owner has an open one."""
        payout = store.insert(tx, owner, payable, fee_limit_msat=fee_limit_msat(payable.amount_msat))
        if payout is not None:
            self._events.append(tx, row_of(payout), "created", moved=("", payout.state))
            self._work.start(tx, StepRef(PAYOUT, payout.id, SEND))
        return payout

    def sending(self, tx: Tx, payout_id: int, *, fence: int) -> Payout:
        """Record, before the node is called, that the holder of `fence` calls it; return the row as it is then."""
        payout = self._lock(tx, payout_id)
        event = PayoutEvent.SENT_AGAIN if payout.state in SENT else PayoutEvent.SENT
        to_state = next_state(PAYOUT_TRANSITIONS, payout.state, event)
        with failpoint("payout.send"):
            store.sending(tx, payout, to_state=to_state, fence=fence, is_again=event is PayoutEvent.SENT_AGAIN)
            self._events.append(tx, row_of(payout), event, moved=(payout.state, to_state))
        return self.by_id(tx, payout_id)

    def unknown(self, tx: Tx, payout_id: int, *, fence: int, seen: bool, review: bool) -> None:
        """Record that a sent payout's outcome is not known, and what is: `seen` at the node, in need of a `review`.

        The holder of `fence` is outside any send by now.
        """
        payout = self._lock(tx, payout_id)
        is_move = payout.state is PayoutState.SENDING
        to_state = next_state(PAYOUT_TRANSITIONS, payout.state, PayoutEvent.NO_ANSWER) if is_move else payout.state
        with failpoint("payout.unknown"):
            store.unknown(tx, payout, to_state=to_state, fence=fence, seen=seen, review=review)
            if is_move:
                self._events.append(tx, row_of(payout), PayoutEvent.NO_ANSWER, moved=(payout.state, to_state))
            if seen and not payout.seen_in_flight:
                self._events.append(tx, row_of(payout), "in flight")
            if review and not payout.needs_review:
                self._events.append(tx, row_of(payout), "needs review")

    def end(self, tx: Tx, payout_id: int, end: PayoutEnd) -> Payout:
        """Move a payout to its end and return it. Raises `TransitionConflict`."""
        payout = self._lock(tx, payout_id)
        to_state = next_state(PAYOUT_TRANSITIONS, payout.state, end.event)
        store.ended(tx, payout, to_state=to_state, end=end)
        self._events.append(tx, row_of(payout), end.event, moved=(payout.state, to_state))
        return self.by_id(tx, payout_id)

    def _lock(self, tx: Tx, payout_id: int) -> Payout:
        payout = store.lock(tx, payout_id)
        if payout is None:
            raise IntegrityFault("a step without its payout")
        return payout


def row_of(payout: Payout) -> Owner:
    """Return the payout as the owner of a stream of its own."""
    return Owner(PAYOUT, payout.id)


def fee_limit_msat(amount_msat: int) -> int:
    """Return the most that routing may cost us: one percent, and at least one sat."""
    return max(_LEAST_FEE_LIMIT_MSAT, amount_msat // _FEE_LIMIT_PARTS)
