"""Requests bought by the call itself: one deposit, many calls, a top-up when it runs low."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pymacaroons import Macaroon
from werkzeug.test import TestResponse

from tests.e2e.l402_client import L402Client, challenge_in
from tests.e2e.market import Market
from tests.e2e.patience import at_once, eventually
from tests.e2e.test_session_answers import desk

PATH = "/api/l402/requests"
CLOSE = "/api/l402/close"
OK, ACCEPTED, UNAUTHORIZED = httpx.codes.OK, httpx.codes.ACCEPTED, httpx.codes.UNAUTHORIZED
PAY = httpx.codes.PAYMENT_REQUIRED
COSTLY = "[sim:tokens:1000]"


@pytest.fixture
def client(market: Market) -> L402Client:
    return L402Client(market.api, market.wallet)


def asked(text: str = "Say something short.", **more: Any) -> dict[str, Any]:
    return {"request": f"{text} ({uuid.uuid4().hex})", **more}


def session_of(market: Market, shown: dict[str, Any]) -> dict[str, Any]:
    """The session that a deposit opened, as the contract shows it."""
    session: dict[str, Any] = market.api.get(f"/api/sessions/{shown['sessionId']}").json()
    return session


def narrowed(credential: str | None, *caveats: str) -> str:
    """What a holder makes of his credential before he hands it on."""
    token, _, preimage = str(credential).partition(":")
    macaroon = Macaroon.deserialize(token)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return f"{macaroon.serialize()}:{preimage}"


def spend(client: L402Client) -> httpx.Response:
    """Ask for costly work until the balance does not suffice; return the challenge."""
    for _ in range(8):
        answer = client.ask(PATH, asked(COSTLY, amount_sats=100))
        if answer.status_code == PAY:
            return answer
        assert answer.status_code == OK, answer.text
    raise AssertionError("the balance never ran out")


def test_one_deposit_buys_requests_until_it_is_used(market: Market, client: L402Client) -> None:
    first = client.ask(PATH, asked())
    assert first.status_code == PAY
    shown = first.json()
    assert shown["amountSats"] == 200
    assert session_of(market, shown)["state"] == "awaiting_payment"
    client.pay(challenge_in(first))
    answers = [client.ask(PATH, asked()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [OK] * 3, answers[0].text
    told = [answer.json() for answer in answers]
    assert {answer["state"] for answer in told} == {"complete"}
    assert len({answer["requestId"] for answer in told}) == 3
    debited = sum(answer["debitedSats"] for answer in told)
    assert told[-1]["balanceRemaining"] == 200 - debited == session_of(market, shown)["balanceSats"]
    assert len(client.paid) == 1


@pytest.mark.parametrize(("reads", "scheme"), [(("token",), "L402"), (("macaroon",), "LSAT")])
def test_a_client_that_knows_one_name_of_the_token_is_served(
    market: Market, reads: tuple[str, ...], scheme: str
) -> None:
    client = L402Client(market.api, market.wallet, reads=reads, scheme=scheme)
    assert client.post(PATH, asked(amount_sats=100)).json()["state"] == "complete"


def test_a_client_that_repeats_the_scheme_gets_401(client: L402Client) -> None:
    assert client.post(PATH, asked(amount_sats=100)).status_code == OK
    client.scheme = "L402 L402"
    assert client.ask(PATH, asked()).status_code == UNAUTHORIZED


def test_a_refused_request_is_served_and_costs_what_judging_cost(client: L402Client) -> None:
    told = client.post(PATH, asked("[sim:refuse]", amount_sats=100)).json()
    assert told["state"] == "rejected"
    assert told["reason"]
    assert told["balanceRemaining"] == 100 - told["debitedSats"]


def test_a_balance_that_runs_low_asks_for_a_top_up_of_the_same_session(market: Market, client: L402Client) -> None:
    opened = client.ask(PATH, asked(amount_sats=100))
    client.pay(challenge_in(opened))
    deposit_credential = client.credential
    short = spend(client)
    assert short.status_code == PAY
    assert "sessionId" not in short.json()
    assert short.json()["paymentRequest"] == client.ask(PATH, asked(COSTLY)).json()["paymentRequest"], "one at a time"
    left_sats = session_of(market, opened.json())["balanceSats"]
    topup_credential = f"{short.json()['macaroon']}:{'0' * 64}"
    client.credential = topup_credential
    assert client.ask(PATH, asked()).status_code == UNAUTHORIZED

    client.pay(challenge_in(short))
    topped_up = client.ask(PATH, asked(COSTLY))
    assert topped_up.status_code == OK, topped_up.text
    told = topped_up.json()
    assert told["balanceRemaining"] == left_sats + 100 - told["debitedSats"]
    client.credential = deposit_credential
    assert client.ask(PATH, asked()).status_code in (OK, PAY)
    assert len(client.paid) == 2


def test_a_credential_of_something_else_opens_a_session_of_its_own(market: Market, client: L402Client) -> None:
    """A client in the field keeps credentials by host and path, and shows a job's here."""
    assert client.post("/api/l402/jobs", asked()).status_code == OK
    job_credential = client.credential
    assert client.ask(PATH, asked()).status_code == PAY
    assert client.post(PATH, asked()).status_code == OK
    assert client.ask("/api/l402/jobs", asked()).status_code == PAY
    client.credential = job_credential
    assert client.ask(PATH, asked()).json()["sessionId"]


def test_an_ended_session_gives_way_to_a_new_one(market: Market, client: L402Client) -> None:
    opened = client.ask(PATH, asked(amount_sats=100))
    client.pay(challenge_in(opened))
    assert client.ask(PATH, asked()).status_code == OK
    session = session_of(market, opened.json())
    closed = market.api.post(
        f"/api/sessions/{session['sessionId']}/close",
        json={"invoice": market.wallet.invoice(session["balanceSats"])["payment_request"]},
        headers={"Authorization": f"L402 {client.credential}"},
    )
    assert closed.status_code == OK, closed.text
    fresh = client.ask(PATH, asked())
    assert fresh.status_code == PAY
    assert fresh.json()["sessionId"] != session["sessionId"]


def test_a_narrowed_credential_cannot_spend_more_a_call_and_hands_its_bounds_on(
    market: Market, client: L402Client
) -> None:
    client.post(PATH, asked(amount_sats=100))
    wide = client.credential
    client.credential = narrowed(wide, "max_sats = 5")
    refused = client.ask(PATH, asked())
    assert (refused.status_code, refused.json()["code"]) == (PAY, "above_macaroon_limit")
    assert "WWW-Authenticate" not in refused.headers, "paying more would not help"

    client.credential = narrowed(wide, "max_sats = 60", "path = /api/l402/requests")
    assert client.ask(PATH, asked()).status_code == OK
    short = spend(client)
    handed = Macaroon.deserialize(challenge_in(short).parameters["token"])
    assert [caveat.caveat_id for caveat in handed.caveats][2:] == [
        b"lucid:needs = preimage",
        b"max_sats = 60",
        b"path = /api/l402/requests",
    ]
    client.credential = narrowed(wide, "max_sats = 60", "max_sats = 61")
    assert client.ask(PATH, asked()).status_code == UNAUTHORIZED


def test_a_holder_bounded_a_call_cannot_take_out_what_is_left(market: Market, client: L402Client) -> None:
    opened = client.ask(PATH, asked(amount_sats=100))
    client.pay(challenge_in(opened))
    address = f"/api/sessions/{opened.json()['sessionId']}/close"
    assert client.ask(PATH, asked("[sim:refuse]")).status_code == OK
    left_sats = session_of(market, opened.json())["balanceSats"]
    body = {"invoice": market.wallet.invoice(left_sats)["payment_request"]}

    def close(credential: str | None) -> int:
        return market.api.post(address, json=body, headers={"Authorization": f"L402 {credential}"}).status_code

    assert close(narrowed(client.credential, "max_sats = 90")) == UNAUTHORIZED
    assert close(narrowed(client.credential, "path = /api/l402")) == UNAUTHORIZED
    assert close(client.credential) == OK


def test_one_key_is_one_request_whichever_credential_repeats_it(client: L402Client) -> None:
    body, key = asked(amount_sats=100), uuid.uuid4().hex
    first = client.post(PATH, body, Idempotency_Key=key)
    assert first.status_code == OK, first.text
    client.credential = narrowed(client.credential, "max_sats = 90")
    again = client.ask(PATH, body, Idempotency_Key=key)
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert client.ask(PATH, body).json()["balanceRemaining"] < first.json()["balanceRemaining"]


def test_an_answer_kept_under_a_key_is_for_its_payer_alone(market: Market, client: L402Client) -> None:
    body, key = asked(amount_sats=100), uuid.uuid4().hex
    first = client.post(PATH, body, Idempotency_Key=key)
    assert first.status_code == OK
    assert market.api.post(PATH, json=body, headers={"Idempotency-Key": key}).status_code == PAY
    other = L402Client(market.api, market.wallet)
    assert other.post(PATH, body, Idempotency_Key=key).json()["requestId"] != first.json()["requestId"]


def test_respond_async_tells_where_to_look(market: Market, client: L402Client) -> None:
    client.post(PATH, asked(amount_sats=100))
    body = asked()
    market.model.fault("total:1.5", match=body["request"], times=None)
    placed = client.ask(PATH, body, Prefer="respond-async")
    assert placed.status_code == ACCEPTED, placed.text
    place = placed.headers["Location"]
    headers = {"Authorization": f"L402 {client.credential}"}
    eventually(
        lambda: market.api.get(place, headers=headers).json()["state"] == "complete", what="a request that is complete"
    )
    assert market.api.get(place).status_code == UNAUTHORIZED
    other = L402Client(market.api, market.wallet)
    other.post(PATH, asked(amount_sats=100))
    stranger = market.api.get(place, headers={"Authorization": f"L402 {other.credential}"})
    assert stranger.status_code == httpx.codes.NOT_FOUND


def test_a_challenge_s_macaroon_opens_nothing_without_its_preimage(market: Market, client: L402Client) -> None:
    opened = client.ask(PATH, asked(amount_sats=100))
    shown = opened.json()
    address = f"/api/sessions/{shown['sessionId']}/request"

    def as_bearer(token: str) -> int:
        return market.api.post(address, json=asked(), headers={"Authorization": f"Bearer {token}"}).status_code

    assert as_bearer(shown["macaroon"]) == UNAUTHORIZED
    client.pay(challenge_in(opened))
    assert client.ask(PATH, asked()).status_code == OK
    assert as_bearer(shown["macaroon"]) == UNAUTHORIZED
    assert as_bearer(narrowed(client.credential, "max_sats = 60").partition(":")[0]) == UNAUTHORIZED
    assert as_bearer(session_of(market, shown)["macaroon"]) == OK
    short = spend(client)
    assert as_bearer(short.json()["macaroon"]) == UNAUTHORIZED
    session = {"Authorization": f"L402 {client.credential}"}
    assert market.api.post(address, json=asked(COSTLY), headers=session).status_code == PAY
    client.pay(challenge_in(short))
    assert client.ask(PATH, asked()).status_code == OK
    assert as_bearer(short.json()["macaroon"]) == UNAUTHORIZED


def test_a_credential_alone_takes_out_what_is_left(market: Market, client: L402Client) -> None:
    opened = client.ask(PATH, asked(amount_sats=100))
    client.pay(challenge_in(opened))
    assert client.ask(PATH, asked("[sim:refuse]")).status_code == OK
    left_sats = session_of(market, opened.json())["balanceSats"]
    body = {"invoice": market.wallet.invoice(left_sats)["payment_request"]}
    wide = client.credential
    assert market.api.post(CLOSE, json=body).status_code == UNAUTHORIZED
    for bound in ("max_sats = 90", "path = /api/l402/requests"):
        client.credential = narrowed(wide, bound)
        assert client.ask(CLOSE, body).status_code == UNAUTHORIZED
    client.credential = wide
    assert client.ask(CLOSE, {}).status_code == httpx.codes.BAD_REQUEST
    closed = client.ask(CLOSE, body)
    assert closed.status_code == OK, closed.text
    told = closed.json()
    assert (told["ok"], told["refundAmountSats"], told["state"]) == (True, left_sats, "expired")
    address = f"/api/sessions/{opened.json()['sessionId']}/close"
    headers = {"Authorization": f"L402 {wide}"}
    assert market.api.post(address, json=body, headers=headers).json() == told == client.ask(CLOSE, body).json()


def test_a_job_s_credential_closes_nothing(client: L402Client) -> None:
    assert client.post("/api/l402/jobs", asked()).status_code == OK
    assert client.ask(CLOSE, {}).status_code == UNAUTHORIZED


@contextmanager
def dear(market: Market, client: L402Client, *, infra_usd: str) -> Iterator[tuple[str, Callable[[], TestResponse]]]:
    """A session of 100 sats with a top-up of 100 that nobody has paid yet, and a desk where work is dear; its invoice, and a call there."""
    opened = client.ask(PATH, asked(amount_sats=100))
    client.pay(challenge_in(opened))
    assert client.ask(PATH, asked("[sim:refuse]")).status_code == OK
    shown = session_of(market, opened.json())
    holder = {"Authorization": f"Bearer {shown['macaroon']}"}
    pending = market.api.post(f"/api/sessions/{shown['sessionId']}/topup", json={"amount_sats": 100}, headers=holder)
    assert pending.status_code == OK, pending.text
    with desk(market, infra_usd=Decimal(infra_usd)) as (_, counter):

        def ask() -> TestResponse:
            body = asked(amount_sats=100)
            return counter.post(PATH, json=body, headers={"Authorization": f"L402 {client.credential}"})

        yield pending.json()["topup"]["paymentRequest"], ask


def test_a_top_up_that_would_not_do_gives_way_to_one_that_does(market: Market, client: L402Client) -> None:
    with dear(market, client, infra_usd="0.25") as (small, ask):
        short = ask()
        assert short.status_code == PAY, short.get_data(as_text=True)
        told = short.get_json()
        assert told["paymentRequest"] != small
        assert told["amountSats"] > 100
        assert ask().get_json()["paymentRequest"] == told["paymentRequest"], "that one does"
        preimage = market.wallet.pay(told["paymentRequest"])["preimage"]
        client.credential = f"{told['macaroon']}:{preimage}"
        assert ask().status_code == OK
    with pytest.raises(RuntimeError):
        market.wallet.pay(small)


def test_a_top_up_that_has_just_been_paid_is_used_and_no_other_asked_for(market: Market, client: L402Client) -> None:
    with dear(market, client, infra_usd="0.08") as (pending, ask):
        market.lightning.fault("SubscribeInvoices", "reorder_events", seconds=5)  # nobody tells; the call has to ask
        market.wallet.pay(pending)
        answer = ask()
        assert answer.status_code == OK, answer.get_data(as_text=True)


def test_calls_side_by_side_never_spend_more_than_there_is(market: Market, client: L402Client) -> None:
    opened = client.ask(PATH, asked(amount_sats=100))
    client.pay(challenge_in(opened))
    answers = at_once(*[lambda: client.ask(PATH, asked(COSTLY))] * 6)
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {OK, PAY}, codes
    debited = sum(answer.json()["debitedSats"] for answer in answers if answer.status_code == OK)
    assert session_of(market, opened.json())["balanceSats"] == 100 - debited >= 0
    assert len({answer.json()["paymentRequest"] for answer in answers if answer.status_code == PAY}) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request": " "},
        {"request": "x" * 8001},
        asked(amount_sats=99),
        asked(amount_sats=10_001),
        asked(amount_sats="200"),
    ],
)
def test_a_bad_body_is_400_and_makes_nothing(market: Market, body: dict[str, Any]) -> None:
    before = market.ledger.counts()
    assert market.api.post(PATH, json=body).status_code == httpx.codes.BAD_REQUEST
    assert market.ledger.counts() == before
