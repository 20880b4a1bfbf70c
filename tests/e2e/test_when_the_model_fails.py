"""A model that errs, talks nonsense or says nothing costs the customer nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.ledger_reader import Book
from tests.e2e.market import EVAL_MSAT, Market, Order

EVALUATION_FAULTS = ("status:500", "garbage_content", "garbage_json", "hang", "drop", "empty", "status:400", "refusal")
WORK_FAULTS = ("status:500", "disconnect:3", "hang", "garbage_json")
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def unjudged(_open_market: Market) -> Iterator[dict[str, Order]]:
    """A job for each way in which an evaluation fails: they fail side by side, as the retries take their time."""
    orders = {fault: _open_market.order() for fault in EVALUATION_FAULTS}
    for fault, order in orders.items():
        _open_market.model.fault(fault, match=order.mark, times=None)
        order.pay_evaluation()
    for order in orders.values():
        order.reach_unasked("failed", within_s=PATIENCE_S)
    yield orders
    _open_market.model.heal()


@pytest.fixture(scope="module")
def undone(_open_market: Market) -> Iterator[dict[str, tuple[Order, int]]]:
    """The same for the work: each job with what was paid for the work, in millisatoshi."""
    orders = {fault: _open_market.accepted() for fault in WORK_FAULTS}
    paid = {}
    for fault, order in orders.items():
        _open_market.model.fault(fault, match=order.mark, times=None)
        paid[fault] = (order, order.pay_work())
    for order in orders.values():
        order.reach_unasked("failed", within_s=PATIENCE_S)
    yield paid
    _open_market.model.heal()


@pytest.mark.parametrize("fault", EVALUATION_FAULTS)
def test_an_evaluation_that_fails_is_owed_back(market: Market, unjudged: dict[str, Order], fault: str) -> None:
    order = unjudged[fault]
    failed = order.look()
    assert failed["state"] == "failed"
    assert "evaluation fee is owed back" in failed["errorMessage"]
    assert "result" not in failed
    cost = failed["costLedger"]
    assert (cost["refundAmountSats"], cost["refundState"]) == (EVAL_MSAT // 1000, "pending")
    assert (cost["workAmountSats"], cost["actualAmountSats"]) == (0, 0)
    assert order.book == Book(received=EVAL_MSAT, owed={"evaluation_failed": EVAL_MSAT})
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (0, EVAL_MSAT)
    assert receipt["receipt_id"] == failed["receiptId"]


@pytest.mark.parametrize("fault", WORK_FAULTS)
def test_work_that_fails_is_owed_back_in_full(market: Market, undone: dict[str, tuple[Order, int]], fault: str) -> None:
    order, paid_msat = undone[fault]
    failed = order.look()
    assert failed["state"] == "failed"
    assert "owed back" in failed["errorMessage"]
    assert "result" not in failed
    cost = failed["costLedger"]
    assert cost["workAmountSats"] == cost["refundAmountSats"] == paid_msat // 1000
    assert (cost["actualAmountSats"], cost["refundState"]) == (0, "pending")
    assert order.book == Book(received=EVAL_MSAT + paid_msat, earned_eval=EVAL_MSAT, owed={"work_failed": paid_msat})
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (EVAL_MSAT, paid_msat)


def test_work_that_was_overpaid_and_fails_is_owed_back_in_full(market: Market) -> None:
    order = market.accepted()
    invoice = order.look()["workInvoice"]
    market.model.fault("status:400", match=order.mark, times=None)
    arrived_msat = invoice["amountSats"] * 1000 + 9_000
    market.lightning.overpay(invoice["paymentRequest"], arrived_msat)
    cost = order.reach("failed")["costLedger"]
    assert cost["refundAmountSats"] == cost["workAmountSats"] == arrived_msat // 1000
    assert order.book == Book(
        received=EVAL_MSAT + arrived_msat, earned_eval=EVAL_MSAT, owed={"work_failed": arrived_msat}
    )


def test_one_failure_of_the_model_is_not_the_customers_business(market: Market) -> None:
    order = market.order()
    market.model.fault("status:500", match=order.mark)
    order.pay_evaluation()
    order.reach("awaiting_work_payment")
    market.model.fault("disconnect:5", match=order.mark)
    paid_msat = order.pay_work()
    cost = order.reach("complete")["costLedger"]
    assert market.ledger.step(order.id, "execute")["attempts"] == 2
    assert order.book.earned_work == cost["actualAmountSats"] * 1000 < paid_msat
    assert len(order.receipts) == 1


def test_a_model_that_asks_for_time_gets_it(market: Market) -> None:
    order = market.order()
    market.model.fault("status:429:1", match=order.mark)
    order.pay_evaluation()
    order.reach("awaiting_work_payment")
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)
