"""A job bought by the call itself: one payment, the challenge that every client reads, and the same answer ever after."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from pymacaroons import Macaroon

from shared.kernel.clock import SystemClock
from shared.kernel.derive import derive
from tests.e2e.l402_client import L402Client, challenge_in
from tests.e2e.ledger_reader import Book
from tests.e2e.market import EVAL_MSAT, Market, Order
from tests.e2e.patience import at_once, eventually
from tests.e2e.price_exchange import PriceExchange

PATH = "/api/l402/jobs"
INTERNAL, PAY = httpx.codes.INTERNAL_SERVER_ERROR, httpx.codes.PAYMENT_REQUIRED


@pytest.fixture
def client(market: Market) -> L402Client:
    return L402Client(market.api, market.wallet)


def order(text: str = "Say something short.") -> dict[str, str]:
    return {"request": f"{text} ({uuid.uuid4().hex})"}


def job_of(market: Market, shown: dict[str, Any]) -> Order:
    """The job of a challenge, as its customer sees it."""
    return Order(market, shown["jobId"], "", shown["paymentRequest"])


def break_model(market: Market, request: str, stage: str) -> None:
    """Have the model fail the evaluation, or let that pass and fail the work."""
    if stage == "work":
        market.model.fault("latency:0", match=request)
    market.model.fault("status:400", match=request, times=None)


def our_own_preimage(market: Market, job_id: str) -> str:
    """What only our secret key can make before anybody has paid."""
    payment_hash = bytes.fromhex(market.ledger.payment_hash(job_id, "eval"))
    salt = market.ledger.one("SELECT preimage_salt FROM invoices WHERE payment_hash = %(hash)s", hash=payment_hash)
    return derive(bytes.fromhex(market.stack.environment["SECRET_KEY"]), "invoice:v1", bytes(salt)).hex()


def test_one_payment_buys_evaluation_and_work(market: Market, client: L402Client) -> None:
    body = order()
    answer = client.ask(PATH, body)
    assert answer.status_code == PAY
    assert answer.headers["Cache-Control"] == "no-store"
    shown = answer.json()
    challenge = challenge_in(answer)
    assert challenge.parameters == {
        "macaroon": shown["macaroon"],
        "invoice": shown["paymentRequest"],
        "token": shown["macaroon"],
        "version": "0",
    }
    estimate = market.api.get("/api/estimate", params=body).json()
    assert shown["amountSats"] == estimate["totalSats"]
    client.pay(challenge)

    done = client.ask(PATH, body)
    assert done.status_code == httpx.codes.OK, done.text
    job = done.json()
    assert (job["jobId"], job["state"]) == (shown["jobId"], "complete")
    cost = job["costLedger"]
    paid_msat = shown["amountSats"] * 1000
    assert cost["workAmountSats"] * 1000 == paid_msat - EVAL_MSAT
    assert cost["refundAmountSats"] == cost["workAmountSats"] - cost["actualAmountSats"] > 0
    charged_msat = cost["actualAmountSats"] * 1000
    assert market.ledger.book(job["jobId"]) == Book(
        received=paid_msat,
        earned_eval=EVAL_MSAT,
        earned_work=charged_msat,
        owed={"unused": paid_msat - EVAL_MSAT - charged_msat},
    )
    assert market.ledger.moves(job["jobId"]) == ["awaiting_eval_payment", "evaluating", "executing", "complete"]
    (receipt,) = market.ledger.receipts(job["jobId"])
    assert receipt["receipt_id"] == job["receiptId"]
    assert receipt["received_msat"] == paid_msat
    assert receipt["payment_hash"] == client.paid[0]
    assert market.api.get(f"/api/jobs/{job['jobId']}").json() == job


def test_the_same_credential_gets_the_same_job_and_pays_once(client: L402Client) -> None:
    body = order()
    first = client.post(PATH, body)
    assert first.status_code == httpx.codes.OK, first.text
    again = at_once(*[lambda: client.ask(PATH, body)] * 4)
    assert {answer.text for answer in again} == {first.text}
    assert len(client.paid) == 1


@pytest.mark.parametrize("reads", [("token",), ("macaroon",)])
@pytest.mark.parametrize("scheme", ["L402", "LSAT", "l402"])
def test_a_client_that_knows_one_name_of_the_token_is_served(
    market: Market, reads: tuple[str, ...], scheme: str
) -> None:
    client = L402Client(market.api, market.wallet, reads=reads, scheme=scheme)
    assert client.post(PATH, order()).json()["state"] == "complete"


def test_a_client_that_repeats_the_scheme_gets_401_and_then_what_it_paid_for(client: L402Client) -> None:
    body = order()
    assert client.post(PATH, body).status_code == httpx.codes.OK
    client.scheme = "L402 L402"
    assert client.ask(PATH, body).status_code == httpx.codes.UNAUTHORIZED
    client.scheme = "L402"
    assert client.ask(PATH, body).status_code == httpx.codes.OK


def test_a_credential_of_another_request_gets_a_fresh_challenge(client: L402Client) -> None:
    """A client in the field keeps credentials by host and path."""
    body = order()
    first = client.post(PATH, body).json()
    other = client.ask(PATH, order())
    assert other.status_code == PAY
    assert other.json()["jobId"] != first["jobId"]
    assert client.ask(PATH, body).json() == first


def test_what_is_forged_unpaid_or_proved_wrongly_is_401(market: Market, client: L402Client) -> None:
    body = order()
    token = client.ask(PATH, body).json()["macaroon"]
    other = client.post(PATH, order())
    assert other.status_code == httpx.codes.OK
    paid_token, _, preimage = str(client.credential).partition(":")
    for credential in (
        f"{token}:{'0' * 64}",  # not paid
        f"{token}:{preimage}",  # another payment's preimage
        f"{paid_token}:{'f' * 64}",  # one client decodes the preimage wrongly
        f"{paid_token[:-8]}AAAAAAA=:{preimage}",
        f"{paid_token}:{preimage[:-1]}",
        paid_token,
    ):
        client.credential = credential
        answer = client.ask(PATH, body)
        assert answer.status_code == httpx.codes.UNAUTHORIZED, credential
        assert answer.json()["error"]
    client.credential = f"{paid_token}:{preimage.upper()}"
    assert client.ask(PATH, {"request": "another"}).status_code == PAY


def test_a_holder_can_narrow_and_never_widen(client: L402Client) -> None:
    body = order()
    first = client.post(PATH, body)
    token, _, preimage = str(client.credential).partition(":")

    def narrowed(*caveats: str) -> int:
        macaroon = Macaroon.deserialize(token)
        for caveat in caveats:
            macaroon.add_first_party_caveat(caveat)
        client.credential = f"{macaroon.serialize()}:{preimage}"
        return client.ask(PATH, body).status_code

    assert first.status_code == httpx.codes.OK
    soon = int(SystemClock().now().timestamp()) + 3600
    assert narrowed("path = /api/l402", f"expires = {soon}") == httpx.codes.OK
    assert narrowed("expires = 9999999999") == httpx.codes.UNAUTHORIZED, "our own expiry is sooner"
    refused = (
        ("path = /api/sessions",),
        ("expires = 1",),
        ("expires = 1", "expires = 9999999999"),
        ("path = /api/l402/requests", "path = /api"),
        ("anything = else",),
    )
    assert {narrowed(*caveats) for caveats in refused} == {httpx.codes.UNAUTHORIZED}


def test_respond_async_answers_at_once_and_the_job_goes_on(market: Market, client: L402Client) -> None:
    body = order()
    market.model.fault("total:1.5", match=body["request"], times=None)
    answer = client.post(PATH, body, Prefer="wait=5, respond-async")
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    assert answer.headers["Preference-Applied"] == "respond-async"
    shown = answer.json()
    assert answer.headers["Location"] == f"/api/jobs/{shown['jobId']}"
    assert client.ask(PATH, body).json()["state"] == "complete"


def test_a_refusal_is_served_and_owes_the_work_s_part_back(market: Market, client: L402Client) -> None:
    answer = client.post(PATH, order("[sim:refuse] Say something short."))
    assert answer.status_code == httpx.codes.OK, answer.text
    job = answer.json()
    assert job["state"] == "rejected"
    assert job["reason"]
    book = market.ledger.book(job["jobId"])
    assert book.earned_eval == EVAL_MSAT
    assert book.owed == {"unused": book.received - EVAL_MSAT}
    assert job["costLedger"]["refundAmountSats"] * 1000 == book.received - EVAL_MSAT
    (receipt,) = market.ledger.receipts(job["jobId"])
    assert receipt["charged_msat"] == EVAL_MSAT


@pytest.mark.parametrize(("stage", "reason"), [("evaluation", "evaluation_failed"), ("work", "work_failed")])
def test_a_failure_owes_back_what_was_not_delivered_and_says_so(
    market: Market, client: L402Client, stage: str, reason: str
) -> None:
    body = order()
    challenge = challenge_in(client.ask(PATH, body))
    break_model(market, body["request"], stage)
    client.pay(challenge)
    answer = client.ask(PATH, body)
    assert answer.status_code == INTERNAL, answer.text
    failed = answer.json()
    assert failed["code"] == "job_failed"
    assert f"/api/jobs/{failed['jobId']}/refund" in failed["error"]
    book = market.ledger.book(failed["jobId"])
    kept = 0 if stage == "evaluation" else EVAL_MSAT
    assert book.earned_eval == kept
    assert book.owed == {reason: book.received - kept}
    assert failed["costLedger"]["refundAmountSats"] * 1000 == book.received - kept
    again = client.ask(PATH, body).json()
    assert {**again, "request_id": ""} == {**failed, "request_id": ""}
    assert len(client.paid) == 1


@pytest.mark.parametrize("body", [{}, {"request": ""}, {"request": "  "}, {"request": 7}, {"request": "x" * 8001}])
def test_a_bad_body_is_400_and_makes_nothing(market: Market, body: dict[str, Any]) -> None:
    before, invoices = market.ledger.counts(), len(market.lightning.invoices())
    answer = market.api.post(PATH, json=body)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert (market.ledger.counts(), len(market.lightning.invoices())) == (before, invoices)


def test_paying_more_owes_the_difference_back(market: Market, client: L402Client) -> None:
    body = order()
    shown = client.ask(PATH, body).json()
    paid_msat = shown["amountSats"] * 1000
    market.lightning.overpay(shown["paymentRequest"], paid_msat + 7_000)
    done = job_of(market, shown).reach("complete")
    assert market.ledger.book(shown["jobId"]).owed["overpaid"] == 7_000
    assert done["costLedger"]["workAmountSats"] * 1000 == paid_msat - EVAL_MSAT


def test_pages_of_other_origins_can_read_the_challenge(market: Market) -> None:
    answer = market.api.post(PATH, json=order(), headers={"Origin": "https://shop.test"})
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]


def test_a_challenge_as_a_problem_has_everything_too(market: Market) -> None:
    answer = market.api.post(PATH, json=order(), headers={"Accept": "application/problem+json"})
    assert answer.status_code == PAY
    assert answer.headers["Content-Type"] == "application/problem+json"
    shown = answer.json()
    assert shown["status"] == PAY
    assert shown["paymentRequest"] == challenge_in(answer).invoice


def test_a_preimage_that_we_could_make_ourselves_opens_nothing(market: Market, client: L402Client) -> None:
    body = order()
    shown = client.ask(PATH, body).json()
    client.credential = f"{shown['macaroon']}:{our_own_preimage(market, shown['jobId'])}"
    answer = client.ask(PATH, body)
    assert (answer.status_code, answer.json()["code"]) == (httpx.codes.UNAUTHORIZED, "payment_not_settled")
    assert job_of(market, shown).look()["state"] == "awaiting_eval_payment"


def test_an_invoice_that_lapsed_unpaid_ends_its_job_and_a_new_one_is_asked_for(hasty_market: Market) -> None:
    client, body = L402Client(hasty_market.api, hasty_market.wallet), order()
    shown = client.ask(PATH, body).json()
    job_of(hasty_market, shown).reach("failed")
    assert hasty_market.ledger.book(shown["jobId"]) == Book()
    client.credential = f"{shown['macaroon']}:{our_own_preimage(hasty_market, shown['jobId'])}"
    again = client.ask(PATH, body)
    assert again.status_code == PAY
    assert again.json()["jobId"] != shown["jobId"]


def test_what_is_paid_late_is_owed_back_and_its_credential_says_so(hasty_market: Market) -> None:
    client, body = L402Client(hasty_market.api, hasty_market.wallet), order()
    shown = client.ask(PATH, body).json()
    job_of(hasty_market, shown).reach("failed")
    hasty_market.lightning.settle_late(hasty_market.ledger.payment_hash(shown["jobId"], "eval"))
    paid_msat = shown["amountSats"] * 1000
    late = Book(received=paid_msat, owed={"late": paid_msat})
    eventually(lambda: hasty_market.ledger.book(shown["jobId"]) == late, what="a late credit")
    client.credential = f"{shown['macaroon']}:{our_own_preimage(hasty_market, shown['jobId'])}"
    answer = client.ask(PATH, body)
    assert (answer.status_code, answer.json()["code"]) == (INTERNAL, "job_failed")
    assert answer.json()["costLedger"]["refundAmountSats"] == shown["amountSats"]


def test_without_a_trustworthy_price_there_is_no_challenge(hasty_market: Market, price_exchange: PriceExchange) -> None:
    price_exchange.is_open = False
    hasty_market.stack.process(
        "web"
    ).restart()  # one that starts anew knows no price: a good one would be trusted for minutes
    eventually(lambda: is_up(hasty_market), what="a web process that answers")
    before = hasty_market.ledger.counts()
    answer = hasty_market.api.post(PATH, json=order())
    assert (answer.status_code, answer.json()["code"]) == (INTERNAL, "no_trustworthy_price")
    assert int(answer.headers["Retry-After"]) > 0
    assert hasty_market.ledger.counts() == before


def is_up(market: Market) -> bool:
    try:
        return market.api.get("/health/live").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
