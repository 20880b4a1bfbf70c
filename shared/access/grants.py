"""What a payment gives a tenant: a tier for thirty days that nothing else of the tenant's runs out beneath.

They begin now, or where what is as good or better ends. What is lesser waits while they last, so that a tenant has every day that was
paid for. Whether a tier has begun is not asked where it counts: while it waits, a better one counts (`plans.better`), and a clock that
is put right after the payment takes nothing away.
"""

from __future__ import annotations

from shared.access import store
from shared.access.model import PaidPlan, Tier
from shared.access.plans import PAID_DAYS, lesser_than
from shared.db.service import Tx

_HOURS_A_DAY = 24


def grant(tx: Tx, *, tenant: str, tier: Tier, purchase_id: int) -> PaidPlan:
    """Give what a purchase bought, which the database allows once."""
    lesser = lesser_than(tier)
    return store.grant(
        tx, tenant=tenant, tier=tier, lesser=lesser, purchase_id=purchase_id, hours=PAID_DAYS * _HOURS_A_DAY
    )


def granted(tx: Tx, *, purchase_id: int) -> PaidPlan | None:
    """Return what a purchase bought; None where it was not paid."""
    return store.grant_of(tx, purchase_id=purchase_id)


def paid_plans(tx: Tx, *, tenant: str) -> list[PaidPlan]:
    """Return what the tenant has paid for and not used up, each tier once; the one that ends first comes first."""
    return store.paid_plans(tx, tenant=tenant)
