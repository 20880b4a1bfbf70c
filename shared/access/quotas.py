"""Verifications a month: taken before work, in the transaction that creates its row, and given back where the service fails.

One row a tenant, mode and UTC month holds the figures, moved by compare-and-set; one row a unit says which month it came from and
whether it was given back, so that a repetition gives nothing back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from shared.access import store
from shared.access.model import Mode, Principal
from shared.access.plans import plan_of
from shared.db.service import Database, Tx
from shared.kernel.clock import Clock
from shared.kernel.errors import TooMany
from shared.kernel.failpoints import effect as failpoint

_DECEMBER = 12


class Pipeline(StrEnum):
    """What a unit is taken for. Both come out of one pool."""

    FORWARD = "forward"
    REVERSE = "reverse"


class QuotaExceeded(TooMany):
    """The month's verifications are used up. Comes back with the next month (UTC)."""

    code = "quota_exceeded"


@dataclass(frozen=True)
class Taken:
    """A unit that was taken. `unit` is what to remember: it can be given back. `period`: "YYYY-MM", UTC."""

    unit: int
    period: str
    limit: int
    used: int


@dataclass(frozen=True)
class QuotaStanding:
    """How a tenant stands this month. `remaining` is 0 also where a plan has ended and more is used than is left of it."""

    period: str
    limit: int
    used: int
    remaining: int
    resets_at: datetime
    forward: int
    reverse: int
    tokens_in: int
    tokens_out: int


class Quotas:
    """The keeper of quotas. Test keys draw on figures of their own, with the same limits."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def take(self, tx: Tx, principal: Principal, *, kind: str) -> Taken:
        """Take one unit for `kind` (`forward`, `reverse`) from this month's; it is taken if `tx` commits.

        Holds the tenant's row until then, so take it last. Raises `QuotaExceeded`.
        """
        now = self._clock.now()
        period, limit = period_of(now), plan_of(principal.tier).verifications
        with failpoint("quota.take"):
            found = store.take_unit(
                tx,
                tenant=principal.tenant,
                mode=principal.mode,
                period=period,
                pipeline=Pipeline(kind),
                limit=limit,
            )
        if found is None:
            raise QuotaExceeded(_exceeded(principal, limit), retry_after_s=_seconds_left(now))
        unit, used = found
        return Taken(unit, period, limit, used)

    def give_back(self, tx: Tx, unit: int) -> bool:
        """Give a unit back to the month it was taken from; False where that was done before, and nothing happens."""
        with failpoint("quota.give_back"):
            return store.give_back_unit(tx, unit=unit)

    def record_tokens(self, tx: Tx, unit: int, *, tokens_in: int, tokens_out: int) -> None:
        """Add what a model read and wrote for this unit to the figures of its month."""
        with failpoint("quota.tokens"):
            store.add_tokens(tx, unit=unit, tokens_in=tokens_in, tokens_out=tokens_out)

    def standing(self, principal: Principal) -> QuotaStanding:
        """Return how the caller's tenant stands this month, with keys of the same mode."""
        now = self._clock.now()
        period, limit = period_of(now), plan_of(principal.tier).verifications
        with self._database.transaction() as tx:
            used = store.quota(tx, tenant=principal.tenant, mode=principal.mode, period=period)
        total = used.forward + used.reverse
        return QuotaStanding(
            period=period,
            limit=limit,
            used=total,
            remaining=max(0, limit - total),
            resets_at=next_period(now),
            forward=used.forward,
            reverse=used.reverse,
            tokens_in=used.tokens_in,
            tokens_out=used.tokens_out,
        )


def period_of(at: datetime) -> str:
    """Return the UTC month of `at`: "YYYY-MM"."""
    return at.astimezone(UTC).strftime("%Y-%m")


def next_period(at: datetime) -> datetime:
    """Return the first moment of the UTC month after that of `at`."""
    month = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if month.month == _DECEMBER:
        return month.replace(year=month.year + 1, month=1)
    return month.replace(month=month.month + 1)


def _seconds_left(now: datetime) -> int:
    return max(1, math.ceil((next_period(now) - now).total_seconds()))


def _exceeded(principal: Principal, limit: int) -> str:
    plan = plan_of(principal.tier).name
    kind = "test verifications" if principal.mode is Mode.TEST else "verifications"
    return f"Monthly quota exceeded: the {plan} plan has {limit} {kind} a month."
