"""The paid job from its creation to its account: what is charged, what is kept, what is owed back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.e2e.ledger_reader import Book, LedgerReader
from tests.e2e.lightning_hand import LightningHand
from tests.e2e.market import EVAL_MSAT, Market
from tests.e2e.patience import eventually

STANDING = {"jobId", "state", "createdAt"}
BREAKDOWN = {"estimatedCostUsd", "marginPct", "btcPriceUsd"}
COST = {
    "actualInputTokens",
    "actualOutputTokens",
    "totalTokens",
    "actualCostUsd",
    "actualChargeUsd",
    "estimatedCostUsd",
    "actualAmountSats",
    "workAmountSats",
    "refundAmountSats",
    "refundState",
    "marginPct",
    "btcPriceUsd",
}


def require_honest(cost: dict[str, Any]) -> None:
    """The account adds up as the contract says."""
    assert set(cost) == COST
    assert cost["totalTokens"] == cost["actualInputTokens"] + cost["actualOutputTokens"]
    assert Decimal(str(cost["actualCostUsd"])) < Decimal(str(cost["actualChargeUsd"]))


def test_a_job_is_paid_judged_paid_and_done_and_the_rest_is_owed_back(market: Market) -> None:
    order = market.order()
    waiting = order.look()
    assert set(waiting) == STANDING | {"evalInvoice"}
    assert order.book == Book()

    order.pay_evaluation()
    accepted = order.reach("awaiting_work_payment")
    assert set(accepted) == STANDING | {"workInvoice", "pricingBreakdown"}
    assert set(accepted["pricingBreakdown"]) == BREAKDOWN
    assert accepted["pricingBreakdown"]["btcPriceUsd"] == 100_000
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)
    assert order.receipts == []

    paid_msat = order.pay_work()
    done = order.reach("complete")
    assert set(done) == STANDING | {"result", "costLedger", "receiptId"}
    assert done["result"].startswith("Simulated answer")
    cost = done["costLedger"]
    require_honest(cost)
    assert cost["workAmountSats"] * 1000 == paid_msat
    assert 0 < cost["actualAmountSats"] < cost["workAmountSats"]
    assert cost["refundAmountSats"] == cost["workAmountSats"] - cost["actualAmountSats"]
    assert cost["refundState"] == "pending"
    charged_msat = cost["actualAmountSats"] * 1000
    assert order.book == Book(
        received=EVAL_MSAT + paid_msat,
        earned_eval=EVAL_MSAT,
        earned_work=charged_msat,
        owed={"unused": paid_msat - charged_msat},
    )
    assert market.ledger.moves(order.id) == [
        "awaiting_eval_payment",
        "evaluating",
        "awaiting_work_payment",
        "executing",
        "complete",
    ]


def test_a_complete_job_leaves_one_receipt_that_tells_its_money_and_proves_itself(market: Market) -> None:
    order = market.accepted()
    paid_msat = order.pay_work()
    done = order.reach("complete")
    (receipt,) = order.receipts
    assert receipt["receipt_id"] == done["receiptId"]
    assert receipt["finish_reason"] == "stop"
    assert receipt["received_msat"] == EVAL_MSAT + paid_msat
    assert receipt["owed_back_msat"] == done["costLedger"]["refundAmountSats"] * 1000
    assert receipt["charged_msat"] == receipt["received_msat"] - receipt["owed_back_msat"]
    assert receipt["payment_hash"] == order.payment_hash("work")
    assert receipt["tokens_out"] == done["costLedger"]["actualOutputTokens"]

    path = f"/v1/receipts/{done['receiptId']}"
    eventually(lambda: market.api.get(f"{path}/proof").status_code == httpx.codes.OK, what="a leaf in the log")
    verdict = market.api.get(f"{path}/verify").json()
    assert verdict["valid"] is True


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"request": ""}',
        b'{"request": "   "}',
        b'{"request": 7}',
        b'{"request": null}',
        b'{"request": "a\\u0000b"}',
        b'{"request": "' + b"x" * 8001 + b'"}',
    ],
)
def test_an_invalid_request_creates_nothing(
    api: httpx.Client, ledger: LedgerReader, lightning: LightningHand, body: bytes
) -> None:
    before, invoices = ledger.counts(), len(lightning.invoices())
    answer = api.post("/api/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert isinstance(answer.json()["error"], str)
    after = ledger.counts()
    unmoved = ("jobs", "invoices", "entries", "receipts", "debts")
    assert {table: after[table] for table in unmoved} == {table: before[table] for table in unmoved}
    assert len(lightning.invoices()) == invoices


def test_a_request_that_is_too_long_is_told_the_limit(api: httpx.Client) -> None:
    answer = api.post("/api/jobs", json={"request": "x" * 8001})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "character limit of 8000" in answer.json()["error"]


def test_an_unknown_job_is_not_found(api: httpx.Client) -> None:
    for job_id in ("job_" + "0" * 32, "job_", "7", "run_" + "0" * 32):
        answer = api.get(f"/api/jobs/{job_id}")
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert isinstance(answer.json()["error"], str)


def test_a_refusal_says_why_and_keeps_the_evaluation_fee(market: Market) -> None:
    order = market.order("[sim:refuse]")
    order.pay_evaluation()
    rejected = order.reach("rejected")
    assert set(rejected) == STANDING | {"reason", "receiptId"}
    assert rejected["reason"]
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)
    (receipt,) = order.receipts
    assert (receipt["finish_reason"], receipt["charged_msat"], receipt["owed_back_msat"]) == ("refused", EVAL_MSAT, 0)
    assert receipt["receipt_id"] == rejected["receiptId"]


def test_too_much_paid_for_the_evaluation_is_owed_back_whatever_follows(market: Market) -> None:
    order = market.order()
    market.lightning.overpay(order.eval_request, EVAL_MSAT + 5_000)
    order.reach("awaiting_work_payment")
    assert order.book == Book(received=EVAL_MSAT + 5_000, earned_eval=EVAL_MSAT, owed={"overpaid": 5_000})
    paid_msat = order.pay_work()
    cost = order.reach("complete")["costLedger"]
    require_honest(cost)
    assert cost["workAmountSats"] * 1000 == paid_msat
    assert cost["refundAmountSats"] == cost["workAmountSats"] - cost["actualAmountSats"] + 5
    book = order.book
    assert (book.held, book.owed["overpaid"]) == (0, 5_000)
    assert sum(book.owed.values()) == cost["refundAmountSats"] * 1000
    (receipt,) = order.receipts
    assert receipt["received_msat"] == EVAL_MSAT + 5_000 + paid_msat
    assert receipt["owed_back_msat"] == cost["refundAmountSats"] * 1000


def test_too_much_paid_for_an_evaluation_that_refuses_is_owed_back(market: Market) -> None:
    order = market.order("[sim:refuse]")
    market.lightning.overpay(order.eval_request, EVAL_MSAT * 2)
    order.reach("rejected")
    assert order.book == Book(received=EVAL_MSAT * 2, earned_eval=EVAL_MSAT, owed={"overpaid": EVAL_MSAT})
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (EVAL_MSAT, EVAL_MSAT)


def test_too_much_paid_for_the_work_counts_as_paid_and_the_rest_is_owed_back(market: Market) -> None:
    order = market.accepted()
    invoice = order.look()["workInvoice"]
    # Half a sat more than asked: the part below a sat stays booked.
    arrived_msat = invoice["amountSats"] * 1000 + 7_500
    market.lightning.overpay(invoice["paymentRequest"], arrived_msat)
    cost = order.reach("complete")["costLedger"]
    require_honest(cost)
    assert cost["workAmountSats"] == arrived_msat // 1000
    assert cost["refundAmountSats"] == cost["workAmountSats"] - cost["actualAmountSats"]
    charged_msat = cost["actualAmountSats"] * 1000
    assert order.book == Book(
        received=EVAL_MSAT + arrived_msat,
        earned_eval=EVAL_MSAT,
        earned_work=charged_msat,
        owed={"unused": arrived_msat - charged_msat},
    )


def test_what_the_work_costs_beyond_the_payment_is_the_operators_loss(market: Market) -> None:
    # Each "! " is a token of its own: far more of them than the estimate's 3 characters a token.
    order = market.accepted("! " * 3900 + "[sim:tokens:1024]")
    paid_msat = order.pay_work()
    cost = order.reach("complete")["costLedger"]
    require_honest(cost)
    assert cost["actualOutputTokens"] == 1024
    assert cost["actualChargeUsd"] > cost["estimatedCostUsd"]
    assert cost["actualAmountSats"] == cost["workAmountSats"] == paid_msat // 1000
    assert (cost["refundAmountSats"], cost["refundState"]) == (0, "not_applicable")
    assert order.book == Book(received=EVAL_MSAT + paid_msat, earned_eval=EVAL_MSAT, earned_work=paid_msat)
    assert len(order.receipts) == 1


def test_an_answer_that_is_cut_at_the_token_limit_is_an_answer(market: Market) -> None:
    order = market.accepted("[sim:tokens:2000]")
    order.pay_work()
    cost = order.reach("complete")["costLedger"]
    assert cost["actualOutputTokens"] == 1024
    assert [receipt["finish_reason"] for receipt in order.receipts] == ["length"]


def test_an_invoice_that_was_paid_cannot_be_paid_again(market: Market) -> None:
    order = market.accepted()
    with pytest.raises(RuntimeError, match="payment failed"):
        market.wallet.pay(order.eval_request)
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)


def test_twenty_looks_at_once_change_nothing(market: Market) -> None:
    order = market.accepted()
    shown = order.look()
    assert all(order.look() == shown for _ in range(20))
    assert order.book == Book(received=EVAL_MSAT, earned_eval=EVAL_MSAT)
