"""A purchase of a plan: asked for, paid or not. A payment that comes late still buys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.access.model import PaidPlan, Tier
from shared.kernel.owner import Owner
from shared.lightning.model import Payout

PLAN = "plan"


class PurchaseState(StrEnum):
    """Where a purchase is."""

    AWAITING_PAYMENT = "awaiting_payment"
    PAID = "paid"
    EXPIRED = "expired"


class PurchaseEvent(StrEnum):
    """What happens to a purchase."""

    PAID = "paid"
    LAPSED = "invoice expired"
    ABANDONED = "no invoice in time"
    UNDERPAID = "underpaid"
    PAID_LATE = "paid late"


PURCHASE_TRANSITIONS = {
    (PurchaseState.AWAITING_PAYMENT, PurchaseEvent.PAID): PurchaseState.PAID,
    (PurchaseState.AWAITING_PAYMENT, PurchaseEvent.LAPSED): PurchaseState.EXPIRED,
    (PurchaseState.AWAITING_PAYMENT, PurchaseEvent.ABANDONED): PurchaseState.EXPIRED,
    (PurchaseState.AWAITING_PAYMENT, PurchaseEvent.UNDERPAID): PurchaseState.EXPIRED,
    (PurchaseState.EXPIRED, PurchaseEvent.PAID_LATE): PurchaseState.PAID,
}


class PurchaseStep(StrEnum):
    """The steps of a purchase."""

    OPEN_INVOICE = "open_invoice"


@dataclass(frozen=True)
class Purchase:
    """One purchase row. `price_usd`: the plan's price when it was asked for."""

    id: int
    public_id: str
    state: PurchaseState
    tenant: str
    tier: Tier
    price_usd: Decimal
    created_at: datetime
    paid_at: datetime | None

    @property
    def owner(self) -> Owner:
        """The purchase as the owner of its invoice, its events and its money."""
        return Owner(PLAN, self.id)


@dataclass(frozen=True)
class PurchaseView:
    """A purchase as its tenant sees it. `payment_request` is there until the invoice cannot be paid any more.

    `owed_sats`: what is owed back and no payout has; `payout`: the last payment of such a debt.
    """

    purchase: Purchase
    payment_hash: bytes
    amount_sats: int
    btc_price_usd: Decimal
    expires_at: datetime
    payment_request: str | None
    bought: PaidPlan | None
    owed_sats: int
    payout: Payout | None
