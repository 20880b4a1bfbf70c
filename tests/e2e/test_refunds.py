"""What a job is owed, claimed over HTTP: paid once, to one invoice, whatever the Lightning node does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.e2e.market import Market, Order
from tests.e2e.node_books import NodeBooks
from tests.e2e.patience import at_once, eventually

IN_FLIGHT = "payment in flight"


def refundable(market: Market) -> tuple[Order, int]:
    """Buy a job that leaves something to claim; return it with the sats that it is owed."""
    order = market.accepted()
    order.pay_work()
    return order, int(order.reach("complete")["costLedger"]["refundAmountSats"])


def claim(order: Order, invoice: Any, **headers: str) -> httpx.Response:
    return order.market.api.post(f"/api/jobs/{order.id}/refund", json={"invoice": invoice}, headers=headers)


def invoice_of(market: Market, sats: int) -> str:
    return market.wallet.invoice(sats)["payment_request"]


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def books(market: Market) -> Iterator[NodeBooks]:
    """Both nodes' books; at the test's end our ledger equals them, payment by payment."""
    with closing(NodeBooks(market.stack.endpoints)) as both:
        yield both
        market.lightning.heal()
        both.require_equal(market.ledger)


@pytest.mark.usefixtures("books")
def test_a_refund_is_paid_to_the_callers_invoice_and_told_again_for_the_asking(market: Market) -> None:
    order, sats = refundable(market)
    made = market.wallet.invoice(sats)
    before = market.wallet.balance_sats()
    answer = claim(order, made["payment_request"])
    assert answer.status_code == httpx.codes.OK, answer.text
    paid = {"ok": True, "refundAmountSats": sats, "paymentHash": made["payment_hash"], "message": "refund sent"}
    assert answer.json() == paid
    assert market.wallet.balance_sats() == before + sats
    cost = order.look()["costLedger"]
    assert (cost["refundState"], cost["refundAmountSats"]) == ("paid", sats)
    payment = order.look()["refundPayment"]
    assert (payment["state"], payment["amountSats"], payment["paymentHash"]) == ("paid", sats, made["payment_hash"])

    assert claim(order, f"LIGHTNING:{made['payment_request'].upper()}").json() == paid
    assert refused(claim(order, invoice_of(market, sats))) == (409, "already_paid")
    assert market.wallet.balance_sats() == before + sats
    assert order.book.owed == {}


@pytest.mark.parametrize("invoice", ["", " ", "not an invoice", "lnbcrt", 7, None, ["lnbcrt"], "lnbcrt" + "q" * 5000])
def test_what_is_no_invoice_is_a_400(market: Market, refundable_order: Order, invoice: Any) -> None:
    assert claim(refundable_order, invoice).status_code == httpx.codes.BAD_REQUEST


def test_an_invoice_over_another_amount_is_a_400_that_names_the_right_one(
    market: Market, refundable_order: Order
) -> None:
    sats = refundable_order.look()["costLedger"]["refundAmountSats"]
    for wrong in (sats - 1, sats + 1):
        answer = claim(refundable_order, invoice_of(market, wrong))
        assert refused(answer) == (400, "wrong_amount")
        assert f"exactly {sats} sats" in answer.json()["error"]


def test_a_body_without_an_invoice_is_a_400_and_an_unknown_job_a_404(market: Market, refundable_order: Order) -> None:
    path = f"/api/jobs/{refundable_order.id}/refund"
    assert market.api.post(path, json={}).status_code == httpx.codes.BAD_REQUEST
    unknown = market.api.post(f"/api/jobs/job_{'0' * 32}/refund", json={"invoice": "x"})
    assert unknown.status_code == httpx.codes.NOT_FOUND


def test_an_invoice_of_ours_is_refused(market: Market, refundable_order: Order) -> None:
    other = market.order()
    assert refused(claim(refundable_order, other.eval_request)) == (400, "own_invoice")


def test_a_job_that_has_not_ended_and_one_that_is_owed_nothing_are_409(market: Market) -> None:
    order = market.accepted()
    assert refused(claim(order, invoice_of(market, 5))) == (409, "not_ended")
    unpaid = market.order()
    assert refused(claim(unpaid, "whatever")) == (409, "not_ended")


@pytest.fixture(scope="module")
def refundable_order(_open_market: Market) -> Order:
    """A job with something to claim that no test of this module gets."""
    return refundable(_open_market)[0]


@pytest.mark.usefixtures("books")
def test_a_failed_job_may_claim_too(market: Market) -> None:
    order = market.order()
    market.model.fault("status:500", match=order.mark, times=None)
    order.pay_evaluation()
    failed = eventually(
        lambda: shown if (shown := order.look())["state"] == "failed" else None, what="a failed job", within_s=40
    )
    sats = failed["costLedger"]["refundAmountSats"]
    assert (sats, failed["costLedger"]["refundState"]) == (10, "pending")
    assert claim(order, invoice_of(market, sats)).json()["ok"] is True
    assert order.look()["costLedger"]["refundState"] == "paid"


@pytest.mark.usefixtures("books")
def test_of_two_refunds_at_once_with_different_invoices_one_is_paid(market: Market) -> None:
    order, sats = refundable(market)
    before = market.wallet.balance_sats()
    invoices = [invoice_of(market, sats) for _ in range(4)]
    answers = at_once(*(lambda invoice=invoice: claim(order, invoice) for invoice in invoices))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"payout_open", "already_paid"}
    assert market.wallet.balance_sats() == before + sats


@pytest.mark.usefixtures("books")
def test_one_invoice_for_two_jobs_pays_one(market: Market) -> None:
    (first, sats), (second, other) = refundable(market), refundable(market)
    invoice = invoice_of(market, sats)
    assert claim(first, invoice).status_code == httpx.codes.OK
    assert refused(claim(second, invoice)) == (400, "invoice_used")
    assert claim(second, invoice_of(market, other)).status_code == httpx.codes.OK


@pytest.mark.usefixtures("books")
def test_a_payment_in_flight_is_told_as_such_and_its_outcome_later(market: Market) -> None:
    order, sats = refundable(market)
    made = market.wallet.invoice(sats)
    market.lightning.fault("SendPaymentV2", "stuck_in_flight", payment_hash=made["payment_hash"])
    for _ in range(2):
        flying = claim(order, made["payment_request"])
        assert flying.status_code == httpx.codes.OK
        assert flying.json() == {
            "ok": False,
            "refundAmountSats": sats,
            "paymentHash": made["payment_hash"],
            "message": IN_FLIGHT,
        }
    shown = order.look()
    assert (shown["costLedger"]["refundState"], shown["refundPayment"]["state"]) == ("pending", "in_flight")
    assert refused(claim(order, invoice_of(market, sats))) == (409, "payout_open")
    market.lightning.release(made["payment_hash"])
    eventually(lambda: claim(order, made["payment_request"]).json()["ok"], what="a payment that has arrived")
    assert order.look()["costLedger"]["refundState"] == "paid"


@pytest.mark.usefixtures("books")
def test_the_same_key_tells_the_outcome_of_a_payment_that_was_in_flight(market: Market) -> None:
    order, sats = refundable(market)
    made = market.wallet.invoice(sats)
    market.lightning.fault("SendPaymentV2", "stuck_in_flight", payment_hash=made["payment_hash"])
    key = {"Idempotency-Key": f"refund-{order.mark}"}
    assert claim(order, made["payment_request"], **key).json()["message"] == IN_FLIGHT
    market.lightning.release(made["payment_hash"])
    eventually(lambda: claim(order, made["payment_request"], **key).json()["ok"], what="a payment that has arrived")


@pytest.mark.usefixtures("books")
def test_a_payment_that_fails_is_a_500_that_says_so_and_another_invoice_is_paid(market: Market) -> None:
    order, sats = refundable(market)
    made = market.wallet.invoice(sats)
    market.lightning.fault("SendPaymentV2", "fail:NO_ROUTE", payment_hash=made["payment_hash"])
    failed = claim(order, made["payment_request"])
    assert refused(failed) == (500, "payment_failed")
    assert "another invoice" in failed.json()["error"]
    assert refused(claim(order, made["payment_request"])) == (500, "payment_failed")
    assert order.look()["costLedger"]["refundState"] == "pending"
    assert order.look()["refundPayment"]["state"] == "failed"
    assert claim(order, invoice_of(market, sats)).json()["ok"] is True


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("fault", ["drop_after_settle", "unavailable", "drop_stream"])
def test_whatever_becomes_of_the_call_the_refund_is_paid_once(market: Market, fault: str) -> None:
    order, sats = refundable(market)
    made = market.wallet.invoice(sats)
    seconds = {"seconds": 1} if fault == "drop_stream" else {}
    market.lightning.fault("SendPaymentV2", fault, payment_hash=made["payment_hash"], **seconds)
    before = market.wallet.balance_sats()
    eventually(lambda: claim(order, made["payment_request"]).json()["ok"], what="a refund that is paid")
    assert market.wallet.balance_sats() == before + sats


@pytest.mark.usefixtures("books")
def test_a_refund_that_is_claimed_while_the_node_is_down_is_paid_when_it_is_back(market: Market) -> None:
    order, sats = refundable(market)
    invoice = invoice_of(market, sats)
    market.lightning.down()
    assert claim(order, invoice).json()["message"] == IN_FLIGHT
    market.lightning.heal()
    eventually(lambda: claim(order, invoice).json()["ok"], what="a refund that is paid", within_s=40)


@pytest.mark.usefixtures("books")
def test_a_worker_that_is_killed_while_it_pays_leaves_a_refund_that_is_paid_once(market: Market) -> None:
    order, sats = refundable(market)
    made = market.wallet.invoice(sats)
    market.lightning.fault("SendPaymentV2", "stuck_in_flight", payment_hash=made["payment_hash"])
    assert claim(order, made["payment_request"]).json()["message"] == IN_FLIGHT
    worker = market.stack.process("worker-payout")
    worker.kill()
    worker.start()
    market.lightning.release(made["payment_hash"])
    eventually(lambda: claim(order, made["payment_request"]).json()["ok"], what="a refund that is paid", within_s=60)


def test_a_creation_tells_its_claim_token_once(market: Market) -> None:
    created = market.api.post("/api/jobs", json={"request": "Say something."}).json()
    assert re.fullmatch(r"[0-9a-f]{64}", created["claimToken"])
    assert "claimToken" not in market.api.get(f"/api/jobs/{created['jobId']}").json()
    for name, text in market.logs().items():
        assert created["claimToken"] not in text, name
