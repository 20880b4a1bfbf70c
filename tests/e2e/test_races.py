"""Calls race over the same money through several web and worker processes: it is paid once, credited once, never overdrawn.

`LUCID_SOAK=1` runs 200 interleavings of each race; `LUCID_RACES` names another number, `LUCID_SEED` repeats a run's choices. After
each handful, both sandbox nodes' own books, read over their REST, are held against the ledger, to the millisatoshi.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from random import Random

import httpx
import pytest

from tests.campaign.audit import Auditor
from tests.e2e.market import Market, open_market, running_stack
from tests.e2e.node_books import NodeBooks
from tests.e2e.races import (
    Racer,
    Told,
    many_requests,
    refund_of_unknown_outcome,
    request_topup_and_close,
    two_refunds,
)
from tests.e2e.second_process import second_process

INTERLEAVINGS = int(os.environ.get("LUCID_RACES") or (200 if os.environ.get("LUCID_SOAK") else 10))
SEED = os.environ.get("LUCID_SEED", "20261122")
LANES = 4
SETTINGS = {
    "WEB_CONCURRENCY": "3",
    "PAYOUT_WAIT_S": "1",
    "INVOICE_WAIT_S": "30",  # a busy machine is no reason for a refusal here
    "MAX_UNPAID_INVOICES": "100000",
}
SCALED_OUT = ("worker-payout", "worker-money")
ROUTERS_TAKE = {"base_msat": 137, "ppm": 900}
"""What lies between the nodes takes fees of odd millisatoshi."""

Race = Callable[[Racer], Told]


@dataclass(frozen=True)
class Course:
    """Where races are run."""

    market: Market
    books: NodeBooks

    def run(self, race: Race) -> list[Told]:
        """Run the race so often, some of it side by side, and hold the books against the nodes after each handful."""
        told: list[Told] = []
        for first in range(0, INTERLEAVINGS, LANES):
            numbers = range(first, min(first + LANES, INTERLEAVINGS))
            with ThreadPoolExecutor(LANES) as lanes:
                handful = list(lanes.map(lambda number: self._once(race, number), numbers))
            self.require_truth(handful)
            told += handful
        counted = Counter(" ".join(sorted(f"{name}:{status}" for name, status, _ in one.answers)) for one in told)
        print(f"\n{race.__name__}: seed {SEED}, {len(told)} interleavings, {len(counted)} kinds of outcome")
        return told

    def require_truth(self, handful: list[Told]) -> None:
        """Every invoice was paid what it was owed and no other, and the books of all three are one."""
        auditor = Auditor(self.market.ledger, self.books)
        auditor.require_rest()
        auditor.require_truth()
        received = self.books.of("wallet").received
        for one in handful:
            assert sum(received.get(offered, 0) for offered in one.offered) == one.owed_msat, one

    def _once(self, race: Race, number: int) -> Told:
        return race(Racer(self.market, Random(f"{SEED} {race.__name__} {number}")))


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    with ExitStack() as opened:
        stack = opened.enter_context(running_stack(tmp_path_factory.mktemp("races"), **SETTINGS))
        for name in SCALED_OUT:
            opened.enter_context(second_process(stack.environment, name))
        market = opened.enter_context(open_market(stack))
        assert Racer(market, Random(SEED)).command("/fees", ROUTERS_TAKE)
        books = opened.enter_context(closing(NodeBooks(stack.endpoints)))
        yield Course(market, books)


def test_of_two_refunds_at_once_to_different_invoices_one_is_paid(course: Course) -> None:
    for told in course.run(two_refunds):
        accepted = {name for name, status, _ in told.answers if status == httpx.codes.OK}
        refused = {(name, status, code) for name, status, code in told.answers if status != httpx.codes.OK}
        assert len(accepted) == 1, told
        assert accepted.isdisjoint(name for name, _, _ in refused), told
        assert {(status, code) for _, status, code in refused} <= {(409, "payout_open"), (409, "already_paid")}, told


def test_while_a_refunds_outcome_is_unknown_nothing_else_is_paid_for_it(course: Course) -> None:
    allowed = {(200, "True"), (200, "False"), (409, "payout_open"), (409, "already_paid"), (500, "payment_failed")}
    told = course.run(refund_of_unknown_outcome)
    for one in told:
        assert {(status, code) for _, status, code in one.answers} <= allowed, one
    assert any((200, "False") in {(status, code) for _, status, code in one.answers} for one in told), (
        "none was unknown"
    )


def test_a_request_a_top_up_and_a_close_at_once_lose_no_credit(course: Course) -> None:
    allowed = {
        "request": {200, 402, 410},
        "top-up": {200, 409},
        "close": {200, 400, 409},
    }
    for told in course.run(request_topup_and_close):
        for name, status, _ in told.answers:
            assert status in allowed[name], told


def test_of_twenty_requests_at_once_on_a_balance_for_three_some_succeed_and_nothing_is_overdrawn(
    course: Course,
) -> None:
    for told in course.run(many_requests):
        statuses = [status for _, status, _ in told.answers]
        assert set(statuses) <= {200, 402}, told
        assert 1 <= statuses.count(200) < len(statuses), told
