"""What a payment gives a tenant: a tier for thirty days, beginning now or where the last payment for the same tier ends.

Tiers that run side by side do not lengthen one another; the better one counts while it runs (`plans.better`).
"""

from __future__ import annotations

from shared.access import store
from shared.access.model import PaidPlan, Tier
from shared.access.plans import PAID_DAYS
from shared.db.service import Tx

_HOURS_A_DAY = 24


def grant(tx: Tx, *, tenant: str, tier: Tier, purchase_id: int) -> PaidPlan:
    """Give what a purchase bought, which the database allows once."""
    return store.grant(tx, tenant=tenant, tier=tier, purchase_id=purchase_id, hours=PAID_DAYS * _HOURS_A_DAY)


def granted(tx: Tx, *, purchase_id: int) -> PaidPlan | None:
    """Return what a purchase bought; None where it was not paid."""
    return store.grant_of(tx, purchase_id=purchase_id)


def paid_plans(tx: Tx, *, tenant: str) -> list[PaidPlan]:
    """Return what the tenant has paid for and not used up, each tier once; the one that ends first comes first."""
    return store.paid_plans(tx, tenant=tenant)
