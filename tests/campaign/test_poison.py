"""A step that kills its worker each time is set aside after a bounded number of attempts, in sight, and its money is owed back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.campaign.audit import Auditor
from tests.campaign.deaths import Deaths
from tests.e2e.ledger_reader import Book
from tests.e2e.market import EVAL_MSAT, Market, Order, open_market, running_stack
from tests.e2e.node_books import NodeBooks

ATTEMPTS = 2
POINT = "after:llm.complete"
WORKER = "worker-llm"


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Market, Deaths]]:
    folder = tmp_path_factory.mktemp("failpoints")
    home = tmp_path_factory.mktemp("poison")
    settings = {"FAILPOINTS": f"once={folder}", "MAX_ATTEMPTS": str(ATTEMPTS), "LEASE_S": "2", "RESCUE_AFTER_S": "1"}
    with ExitStack() as opened:
        stack = opened.enter_context(running_stack(home, **settings))
        yield opened.enter_context(open_market(stack)), Deaths(stack, folder)


def kill_its_worker_each_time(deaths: Deaths, order: Order, step: str) -> None:
    """The worker dies whenever the model has answered, as often as the step is tried."""
    for _ in range(ATTEMPTS):
        with deaths.at(POINT, of=WORKER):
            pass
    order.reach_unasked("failed")
    row = order.market.ledger.step(order.id, step)
    assert (row["state"], row["attempts"]) == ("quarantined", ATTEMPTS + 1)


def require_in_sight(market: Market, step: str) -> None:
    """Whoever watches sees it."""
    metrics = market.stack.endpoints["metrics"]
    answer = market.api.get("/metrics", headers={"Authorization": f"Bearer {metrics['token']}"})
    shown = [line for line in answer.text.splitlines() if line.startswith("lucid_steps") and "quarantined" in line]
    assert [line for line in shown if f'step="job.{step}"' in line and not line.endswith(" 0.0")], shown


def test_an_evaluation_that_kills_its_worker_ends_and_the_fee_is_owed_back(poisoned: tuple[Market, Deaths]) -> None:
    market, deaths = poisoned
    order = market.order()
    order.pay_evaluation()
    kill_its_worker_each_time(deaths, order, "evaluate")
    assert order.book == Book(received=EVAL_MSAT, owed={"evaluation_failed": EVAL_MSAT})
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (0, EVAL_MSAT)
    require_in_sight(market, "evaluate")


def test_work_that_kills_its_worker_ends_and_its_payment_is_owed_back(poisoned: tuple[Market, Deaths]) -> None:
    market, deaths = poisoned
    order = market.accepted()
    work_msat = order.pay_work()
    kill_its_worker_each_time(deaths, order, "execute")
    assert order.book == Book(received=EVAL_MSAT + work_msat, earned_eval=EVAL_MSAT, owed={"work_failed": work_msat})
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (EVAL_MSAT, work_msat)
    require_in_sight(market, "execute")


def test_the_next_job_is_done_and_the_books_are_true(poisoned: tuple[Market, Deaths]) -> None:
    market, _ = poisoned
    order = market.accepted()
    order.pay_work()
    order.reach("complete")
    with closing(NodeBooks(market.stack.endpoints)) as nodes:
        auditor = Auditor(market.ledger, nodes)
        auditor.require_rest()
        auditor.require_truth(except_for={"quarantined steps"})
        auditor.require_done_once(order.id)
