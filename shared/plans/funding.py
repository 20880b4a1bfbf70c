"""What a payment means to a purchase, and what it means that none came. `shared/agent/settlement.py` calls it, nobody else.

Paid in full, on time or late, buys the plan from that moment on. What came above the price is owed back; what came below it is owed
back whole, and buys nothing.
"""

from __future__ import annotations

from shared.access import grants
from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.ledger import service as ledger
from shared.ledger.model import Account, DebtReason
from shared.lightning.model import Invoice
from shared.plans.life import PurchaseLife
from shared.plans.model import Purchase, PurchaseEvent, PurchaseState


class PlanFunding:
    """Turns payments into tiers."""

    def __init__(self, *, events: Events, purchase_life: PurchaseLife) -> None:
        self._events = events
        self._purchase_life = purchase_life

    def lock(self, tx: Tx, owner_id: int) -> Purchase:
        """Return the purchase and hold its row lock."""
        return self._purchase_life.lock(tx, owner_id)

    def paid(self, tx: Tx, purchase: Purchase, invoice: Invoice, *, paid_msat: int) -> None:
        """Let a locked purchase go on with money that the ledger has received for it."""
        if purchase.state is PurchaseState.PAID:
            raise IntegrityFault("an invoice was credited twice")
        if paid_msat < invoice.amount_msat:  # lnd does not settle these; if one ever does, nobody loses it
            self._underpaid(tx, purchase, paid_msat)
            return
        excess_msat = paid_msat - invoice.amount_msat
        ledger.earn(tx, purchase.owner, Account.REVENUE_PLANS, ref="plan", amount_msat=invoice.amount_msat)
        ledger.owe_back(tx, purchase.owner, DebtReason.OVERPAID, ref=invoice.purpose, amount_msat=excess_msat)
        grants.grant(tx, tenant=purchase.tenant, tier=purchase.tier, purchase_id=purchase.id)
        is_late = purchase.state is PurchaseState.EXPIRED
        self._purchase_life.move(tx, purchase, PurchaseEvent.PAID_LATE if is_late else PurchaseEvent.PAID)

    def lapsed(self, tx: Tx, purchase: Purchase, invoice: Invoice) -> None:
        """Note that the invoice of a locked purchase cannot be paid any more."""
        if purchase.state is PurchaseState.AWAITING_PAYMENT:
            self._purchase_life.move(tx, purchase, PurchaseEvent.LAPSED)
        else:
            self._events.append(tx, purchase.owner, f"{invoice.purpose} expired")

    def _underpaid(self, tx: Tx, purchase: Purchase, paid_msat: int) -> None:
        ledger.owe_back(tx, purchase.owner, DebtReason.UNDERPAID, ref="plan", amount_msat=paid_msat)
        if purchase.state is PurchaseState.AWAITING_PAYMENT:
            self._purchase_life.move(tx, purchase, PurchaseEvent.UNDERPAID)
