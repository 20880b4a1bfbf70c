"""What a tenant can subscribe to: the verification contract's plans. The figures are the contract's, so no setting changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from shared.access.model import Tier

PAID_DAYS = 30
"""How long one payment lasts, in days of 24 hours."""


@dataclass(frozen=True)
class Plan:
    """One plan. `verifications`: a calendar month (UTC), forward and reverse together; `per_minute`: requests of one key."""

    tier: Tier
    name: str
    price_usd: Decimal
    verifications: int
    per_minute: int

    @property
    def is_sold(self) -> bool:
        """True for what costs something."""
        return self.price_usd > 0


PLANS: Mapping[Tier, Plan] = MappingProxyType(
    {
        plan.tier: plan
        for plan in (
            Plan(Tier.FREE, "Free", Decimal(0), verifications=100, per_minute=5),
            Plan(Tier.PRO, "Pro", Decimal(49), verifications=1000, per_minute=20),
            Plan(Tier.TEAM, "Team", Decimal(149), verifications=5000, per_minute=60),
        )
    }
)
"""From the least to the greatest."""


def plan_of(tier: Tier) -> Plan:
    """Return the plan of a tier."""
    return PLANS[tier]


def better(one: Tier, other: Tier | None) -> Tier:
    """Return the tier that allows more; `other` may be none."""
    ranks = list(PLANS)
    return one if other is None or ranks.index(one) >= ranks.index(other) else other


def lesser_than(tier: Tier) -> tuple[Tier, ...]:
    """Return the tiers that allow less."""
    ranks = list(PLANS)
    return tuple(ranks[: ranks.index(tier)])
