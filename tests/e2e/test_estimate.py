"""What an estimate tells is what the invoices then ask for, and telling it makes nothing."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.e2e.market import Market
from tests.e2e.purse import funded_purse


def test_the_invoices_ask_for_what_was_estimated(market: Market) -> None:
    text = f"Say something short. ({uuid.uuid4().hex})"
    told = market.api.get("/api/estimate", params={"request": text}).json()
    order = market.accepted()  # its text is as long as this one
    shown = order.look()
    assert told["evalSats"] * 1000 == order.book.received
    assert told["workSats"] == shown["workInvoice"]["amountSats"]
    assert told["totalSats"] == told["evalSats"] + told["workSats"]
    breakdown = shown["pricingBreakdown"]
    assert {name: told[name] for name in breakdown} == breakdown
    assert (told["priceSource"], told["priceAgeS"]) == ("fixed", 0)


def test_a_session_sets_aside_what_was_estimated(market: Market) -> None:
    text = f"Say something short. ({uuid.uuid4().hex})"
    told = market.api.get("/api/estimate", params={"request": text}).json()
    purse = funded_purse(market, told["minDepositSats"])
    assert purse.post("request", {"request": text}).json()["state"] == "complete"
    assert purse.requests()[-1]["reserved_msat"] == told["sessionMaxSats"] * 1000
    assert 0 < told["sessionMaxEvalSats"] < told["sessionMaxSats"] <= told["minDepositSats"]


def test_a_longer_request_is_estimated_dearer(market: Market) -> None:
    short, long = (market.api.get("/api/estimate", params={"request": "x" * length}).json() for length in (1, 8000))
    assert short["workSats"] < long["workSats"]
    assert short["sessionMaxSats"] < long["sessionMaxSats"] <= long["minDepositSats"]


def test_an_estimate_creates_nothing(market: Market) -> None:
    before = market.ledger.counts()
    assert market.api.get("/api/estimate", params={"request": "Say something."}).status_code == httpx.codes.OK
    after = market.ledger.counts()
    assert {name: after[name] for name in ("jobs", "invoices", "entries", "debts", "receipts")} == (
        {name: before[name] for name in ("jobs", "invoices", "entries", "debts", "receipts")}
    )


@pytest.mark.parametrize("parameters", [{}, {"request": ""}, {"request": " "}, {"request": "x" * 8001}])
def test_what_no_job_would_take_is_not_estimated(market: Market, parameters: dict[str, str]) -> None:
    answer = market.api.get("/api/estimate", params=parameters)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert answer.json()["error"]
