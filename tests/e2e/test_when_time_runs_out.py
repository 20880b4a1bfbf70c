"""Invoices that nobody pays in time, and money that comes after the end."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.ledger_reader import Book
from tests.e2e.market import EVAL_MSAT, Market, Order
from tests.e2e.patience import eventually

PATIENCE_S = 40.0


@dataclass(frozen=True)
class Expired:
    """Jobs that ended because nobody paid: two that await their evaluation fee, two their work payment (`work_msat` each)."""

    unpaid: Order
    unpaid_then_late: Order
    unpaid_work: Order
    unpaid_work_then_late: Order
    work_msat: int


@pytest.fixture(scope="module")
def expired(_open_hasty_market: Market) -> Expired:
    """Four jobs that expire side by side, without anybody asking about them."""
    market = _open_hasty_market
    judged = [market.accepted() for _ in range(2)]
    work_msat = judged[0].look()["workInvoice"]["amountSats"] * 1000
    waiting = [market.order() for _ in range(2)]
    for order in (*judged, *waiting):
        order.reach_unasked("failed", within_s=PATIENCE_S)
    return Expired(waiting[0], waiting[1], judged[0], judged[1], work_msat)


def pay_late(order: Order, purpose: str) -> None:
    """Have the node settle an invoice that is over, and wait for the credit."""
    before_msat = order.book.received
    order.market.lightning.settle_late(order.payment_hash(purpose))
    eventually(lambda: order.book.received > before_msat, what="a late credit")


def test_an_unpaid_evaluation_invoice_ends_its_job_and_nothing_is_owed(hasty_market: Market, expired: Expired) -> None:
    order = expired.unpaid
    failed = order.look()
    assert failed["state"] == "failed"
    assert "evaluation invoice expired unpaid" in failed["errorMessage"]
    assert not {"costLedger", "result", "receiptId", "evalInvoice"} & set(failed)
    assert order.book == Book()
    assert order.receipts == []
    assert order.node_state("eval") == "CANCELED"
    with pytest.raises(RuntimeError):
        hasty_market.wallet.pay(order.eval_request)
    assert order.book == Book()


def test_an_unpaid_work_invoice_ends_its_job_and_the_fee_is_kept(hasty_market: Market, expired: Expired) -> None:
    order = expired.unpaid_work
    failed = order.look()
    assert failed["state"] == "failed"
    assert "work invoice expired unpaid" in failed["errorMessage"]
    assert not {"costLedger", "result", "workInvoice"} & set(failed)
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (EVAL_MSAT, 0)
    assert receipt["finish_reason"] == "work_invoice_expired"
    assert order.node_state("work") == "CANCELED"
    with pytest.raises(RuntimeError):
        hasty_market.wallet.pay(order.work_request())


def test_an_evaluation_fee_that_comes_after_the_end_is_owed_back_in_full(
    hasty_market: Market, expired: Expired
) -> None:
    order = expired.unpaid_then_late
    pay_late(order, "eval")
    assert order.book == Book(received=EVAL_MSAT, owed={"late": EVAL_MSAT})
    failed = order.look()
    assert failed["state"] == "failed"
    cost = failed["costLedger"]
    assert (cost["refundAmountSats"], cost["refundState"]) == (EVAL_MSAT // 1000, "pending")
    assert (cost["workAmountSats"], cost["actualAmountSats"]) == (0, 0)


def test_a_work_payment_that_comes_after_the_end_is_owed_back_in_full(hasty_market: Market, expired: Expired) -> None:
    order = expired.unpaid_work_then_late
    pay_late(order, "work")
    assert order.book == Book(
        received=EVAL_MSAT + expired.work_msat, earned_eval=EVAL_MSAT, owed={"late": expired.work_msat}
    )
    failed = order.look()
    assert failed["state"] == "failed"
    assert failed["costLedger"]["refundAmountSats"] == expired.work_msat // 1000
    assert failed["costLedger"]["refundState"] == "pending"
    assert len(order.receipts) == 1


def test_every_late_payment_is_owed_back_not_only_the_first(hasty_market: Market, expired: Expired) -> None:
    """Each of the jobs that the two tests above left alone is paid late as well."""
    for order, purpose, late_msat in (
        (expired.unpaid, "eval", EVAL_MSAT),
        (expired.unpaid_work, "work", expired.work_msat),
    ):
        pay_late(order, purpose)
        assert order.book.owed == {"late": late_msat}
        assert order.book.held == 0
        assert order.look()["costLedger"]["refundAmountSats"] * 1000 == late_msat


def test_a_job_in_time_is_done_where_others_expire(hasty_market: Market) -> None:
    order = hasty_market.accepted()
    order.pay_work()
    assert order.reach("complete")["costLedger"]["refundState"] == "pending"
