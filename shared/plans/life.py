"""How a purchase moves: one function. State and history commit together or not at all."""

from __future__ import annotations

from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.transitions import next_state
from shared.plans import store
from shared.plans.model import PURCHASE_TRANSITIONS, Purchase, PurchaseEvent, PurchaseState


class PurchaseLife:
    """Moves purchases."""

    def __init__(self, *, events: Events) -> None:
        self._events = events

    def lock(self, tx: Tx, purchase_id: int) -> Purchase:
        """Return a purchase and hold its row lock: the owner first, then its invoice, then its accounts."""
        purchase = store.lock(tx, purchase_id)
        if purchase is None:
            raise IntegrityFault("a purchase vanished")
        return purchase

    def move(self, tx: Tx, purchase: Purchase, event: PurchaseEvent) -> PurchaseState:
        """Move a locked purchase and write its history. Raises `TransitionConflict`."""
        to_state = next_state(PURCHASE_TRANSITIONS, purchase.state, event)
        store.move(tx, purchase.id, from_state=purchase.state, to_state=to_state)
        self._events.append(tx, purchase.owner, event, moved=(purchase.state, to_state))
        return to_state
