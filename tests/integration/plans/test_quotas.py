"""A month's verifications: never one too many, given back once and to their own month, whoever asks at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from shared.access import plans
from shared.access.model import Mode, Principal, Scope, Tier
from shared.access.plans import PLANS, Plan
from shared.access.quotas import QuotaExceeded, Quotas, Taken, next_period, period_of
from shared.db.service import Database, Tx
from shared.kernel.clock import SystemClock

LAST_DAY = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC)


class SetClock(SystemClock):
    """A clock that shows what it is told."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class Undone(Exception):
    """The transaction is to leave nothing."""


class Pool:
    """One tenant's quota, used up to the last `left`."""

    def __init__(self, database: Database, *, tier: Tier = Tier.FREE, mode: Mode = Mode.LIVE) -> None:
        self.database = database
        self.clock = SetClock(LAST_DAY)
        self.quotas = Quotas(database, clock=self.clock)
        self.principal = Principal("tenant-a", mode, frozenset({Scope.VERIFICATION}), tier)

    def take(self, kind: str = "forward", *, principal: Principal | None = None) -> Taken:
        with self.database.transaction() as tx:
            return self.quotas.take(tx, principal or self.principal, kind=kind)

    def use_up_to(self, left: int) -> None:
        """Take all but `left` in one go."""
        limit = plans.plan_of(self.principal.tier).verifications
        with self.database.transaction() as tx:
            for _ in range(limit - left):
                self.quotas.take(tx, self.principal, kind="forward")

    def give_back(self, unit: int) -> bool:
        with self.database.transaction() as tx:
            return self.quotas.give_back(tx, unit)

    def undo(self, act: Callable[[Tx], object]) -> None:
        """Do something in a transaction that then ends badly."""
        with suppress(Undone), self.database.transaction() as tx:
            assert act(tx)
            raise Undone

    def used(self) -> tuple[int, int, int]:
        standing = self.quotas.standing(self.principal)
        return standing.used, standing.forward, standing.reverse


@pytest.fixture
def pool(database: Database) -> Pool:
    return Pool(database)


def test_of_fifty_who_ask_at_once_for_ten_units_ten_get_one(pool: Pool) -> None:
    pool.use_up_to(left=10)

    def ask(number: int) -> Taken | QuotaExceeded:
        try:
            return pool.take("forward" if number % 2 else "reverse")
        except QuotaExceeded as refused:
            return refused

    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(ask, range(50)))
    taken = [answer for answer in answers if isinstance(answer, Taken)]
    assert (len(taken), len({unit.unit for unit in taken})) == (10, 10)
    assert sorted(unit.used for unit in taken) == list(range(91, 101))
    assert pool.used()[0] == 100


def test_what_is_refused_comes_back_with_the_months_end(pool: Pool) -> None:
    pool.use_up_to(left=0)
    with pytest.raises(QuotaExceeded) as refused:
        pool.take()
    assert (refused.value.code, refused.value.retry_after_s) == ("quota_exceeded", 30)
    assert refused.value.message == "Monthly quota exceeded: the Free plan has 100 verifications a month."
    pool.clock.at += timedelta(seconds=30)
    taken = pool.take()
    assert (taken.period, taken.limit, taken.used) == ("2027-01", 100, 1)


def test_a_unit_is_given_back_once_and_to_its_own_month(pool: Pool) -> None:
    kept, returned = pool.take("reverse"), pool.take("reverse")
    assert pool.used() == (2, 0, 2)
    pool.clock.at += timedelta(minutes=1)
    pool.take("reverse")
    assert [pool.give_back(returned.unit) for _ in range(3)] == [True, False, False]
    assert pool.used() == (1, 0, 1), "the new month's"
    pool.clock.at -= timedelta(minutes=1)
    assert pool.used() == (1, 0, 1), "the old month's"
    assert kept.period == returned.period == "2026-12"


def test_two_who_give_a_unit_back_at_once_give_one_back(pool: Pool) -> None:
    pool.take()
    unit = pool.take().unit
    with ThreadPoolExecutor(8) as crowd:
        assert sorted(crowd.map(lambda _: pool.give_back(unit), range(8))) == [False] * 7 + [True]
    assert pool.used() == (1, 1, 0)


def test_a_unit_whose_transaction_ends_badly_was_not_taken(pool: Pool) -> None:
    pool.undo(lambda tx: pool.quotas.take(tx, pool.principal, kind="forward"))
    assert pool.used() == (0, 0, 0)
    unit = pool.take().unit
    pool.undo(lambda tx: pool.quotas.give_back(tx, unit))
    assert pool.used() == (1, 1, 0)
    assert pool.give_back(unit)


def test_test_keys_and_other_tenants_have_figures_of_their_own(pool: Pool) -> None:
    pool.use_up_to(left=0)
    for other in (
        Principal("tenant-a", Mode.TEST, pool.principal.scopes, Tier.FREE),
        Principal("tenant-b", Mode.LIVE, pool.principal.scopes, Tier.FREE),
    ):
        assert pool.take(principal=other).used == 1


def test_a_better_tier_widens_the_pool_and_its_end_takes_nothing_back(pool: Pool) -> None:
    pool.use_up_to(left=0)
    pro = Principal("tenant-a", Mode.LIVE, pool.principal.scopes, Tier.PRO)
    assert pool.take(principal=pro).used == 101
    standing = pool.quotas.standing(pool.principal)
    assert (standing.used, standing.limit, standing.remaining) == (101, 100, 0)
    with pytest.raises(QuotaExceeded):
        pool.take()


def test_tokens_are_added_to_the_month_of_their_unit(pool: Pool) -> None:
    unit = pool.take().unit
    pool.clock.at += timedelta(minutes=1)
    for _ in range(2):
        with pool.database.transaction() as tx:
            pool.quotas.record_tokens(tx, unit, tokens_in=300, tokens_out=20)
    assert pool.quotas.standing(pool.principal).tokens_in == 0
    pool.clock.at -= timedelta(minutes=1)
    standing = pool.quotas.standing(pool.principal)
    assert (standing.tokens_in, standing.tokens_out) == (600, 40)
    assert standing.resets_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_month_is_a_month_of_utc() -> None:
    ahead = datetime(2026, 3, 1, 0, 30, tzinfo=UTC).astimezone().replace(microsecond=0)
    assert period_of(ahead) == "2026-03"
    assert next_period(datetime(2026, 1, 31, 12, tzinfo=UTC)) == datetime(2026, 2, 1, tzinfo=UTC)
    assert next_period(LAST_DAY) == datetime(2027, 1, 1, tzinfo=UTC)


def test_the_plans_are_the_contracts() -> None:
    assert [(plan.name, int(plan.price_usd), plan.verifications, plan.per_minute) for plan in PLANS.values()] == [
        ("Free", 0, 100, 5),
        ("Pro", 49, 1000, 20),
        ("Team", 149, 5000, 60),
    ]
    assert all(isinstance(plan, Plan) and plan.tier is tier for tier, plan in PLANS.items())
    assert [plans.better(Tier.PRO, other) for other in (None, Tier.FREE, Tier.PRO, Tier.TEAM)] == (
        [Tier.PRO, Tier.PRO, Tier.PRO, Tier.TEAM]
    )
