"""Sessions' calls answer in one order, whatever else is wrong: credential, end, payment, body, balance. And each key once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from shared.bootstrap import Container, Role, build
from tests.e2e.market import Market
from tests.e2e.patience import at_once, eventually
from tests.e2e.purse import Balance, Purse, funded_purse, new_purse
from tests.e2e.test_sessions import let_idle
from web.app import create_app

BAD_BODIES: tuple[Any, ...] = ({}, [], {"request": ""}, {"request": "  "}, {"request": 7}, {"request": "x" * 8001})
BAD_AMOUNTS: tuple[Any, ...] = (99, 10_001, -100, 100.5, "100", True, None)


@contextmanager
def desk(market: Market, **changes: Any) -> Iterator[tuple[Container, FlaskClient]]:
    """A web process of the same stack in this one, with other settings."""
    container = build(replace(Settings.load(market.stack.environment), **changes), Role.WEB)
    try:
        yield container, create_app(container).test_client()
    finally:
        container.database.close()
        if container.bus._reader is None:  # one that reads ends with the process
            container.bus._client.close()


def minted(market: Market, purse: Purse, purpose: str = "deposit") -> dict[str, str]:
    """The macaroon of a payment, whatever the session's state."""
    with desk(market) as (container, _), container.database.transaction() as tx:
        payment_hash = bytes.fromhex(purse.payment_hash(purpose))
        token = container.macaroons.mint(tx, payment_hash=payment_hash, subject="session", subject_id=purse.id)
    return {"Authorization": f"Bearer {token}"}


def codes_of(market: Market, path: str, headers: dict[str, str], bodies: tuple[Any, ...]) -> set[int]:
    return {market.api.post(path, json=body, headers=headers).status_code for body in bodies}


@pytest.fixture(scope="module")
def holder(_open_market: Market) -> Purse:
    """A session that pays for nothing in these tests."""
    return funded_purse(_open_market)


@pytest.mark.parametrize("call", ["request", "topup", "close", "requests"])
def test_without_the_sessions_own_macaroon_everything_is_401(market: Market, holder: Purse, call: str) -> None:
    other = funded_purse(market)
    good = holder.credential["Authorization"]
    path = f"/api/sessions/{holder.id}/{call}"
    unknown = f"/api/sessions/ses_{'0' * 32}/{call}"
    forged = good[:-6] + ("A" if good[-6] != "A" else "B") + good[-5:]
    for authorization in (None, "", "Bearer", "Bearer x", "Basic eDp5", forged, f"{good} {good}", good[:40]):
        headers = {} if authorization is None else {"Authorization": authorization}
        for address in (path, unknown):
            answer = send(market, address, headers)
            assert (answer.status_code, answer.json()["code"]) == (httpx.codes.UNAUTHORIZED, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for address, headers in (
        (path, other.credential),
        (unknown, holder.credential),
        ("/api/sessions/x/" + call, holder.credential),
    ):
        assert send(market, address, headers).status_code == httpx.codes.UNAUTHORIZED
    assert holder.balance == Balance(100_000, 100_000, 0, 0, {})


def send(market: Market, path: str, headers: dict[str, str]) -> httpx.Response:
    """Call with a body that is wrong as well: the credential comes first."""
    if path.endswith("requests"):
        return market.api.get(path, headers=headers, params={"limit": "x"})
    return market.api.post(path, content=b"{", headers={**headers, "Content-Type": "application/json"})


def test_a_session_that_is_not_paid_yet_is_409_before_any_body_is_read(market: Market) -> None:
    purse = new_purse(market)
    credential = minted(market, purse)
    for call in ("request", "topup"):
        assert codes_of(market, f"/api/sessions/{purse.id}/{call}", credential, (*BAD_BODIES, {"request": "Hi."})) == {
            409
        }
    closed = market.api.post(f"/api/sessions/{purse.id}/close", json={}, headers=credential)
    assert (closed.status_code, closed.json()["code"]) == (httpx.codes.CONFLICT, "not_paid_yet")
    assert "macaroon" not in purse.look()


def test_an_ended_session_is_410_to_requests_and_409_to_top_ups_before_any_body_is_read(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.close(100).json()["ok"] is True
    credential = minted(market, purse)
    bodies = (*BAD_BODIES, {"request": "Hi."})
    assert codes_of(market, f"/api/sessions/{purse.id}/request", credential, bodies) == {410}
    assert codes_of(market, f"/api/sessions/{purse.id}/topup", credential, (*bodies, {"amount_sats": 100})) == {409}
    listed = market.api.get(f"/api/sessions/{purse.id}/requests", headers=credential)
    assert (listed.status_code, listed.json()["requests"]) == (httpx.codes.OK, [])


def test_a_bad_body_is_400_before_the_balance_is_looked_at(market: Market) -> None:
    purse = funded_purse(market)
    path = f"/api/sessions/{purse.id}"
    assert codes_of(market, f"{path}/request", purse.credential, BAD_BODIES) == {400}
    while purse.state == "active":
        assert purse.ask("[sim:tokens:1024]").status_code == httpx.codes.OK
    assert codes_of(market, f"{path}/request", purse.credential, BAD_BODIES) == {400}
    assert purse.ask().status_code == httpx.codes.PAYMENT_REQUIRED
    assert purse.balance.reserved == 0


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
def test_an_amount_out_of_bounds_is_400_and_creates_nothing(market: Market, holder: Purse, amount: Any) -> None:
    sessions = market.ledger.one("SELECT count(*) FROM sessions")
    invoices = market.ledger.one("SELECT count(*) FROM invoices")
    assert market.api.post("/api/sessions", json={"amount_sats": amount}).status_code == httpx.codes.BAD_REQUEST
    assert holder.post("topup", {"amount_sats": amount}).status_code == httpx.codes.BAD_REQUEST
    assert market.ledger.one("SELECT count(*) FROM sessions") == sessions
    assert market.ledger.one("SELECT count(*) FROM invoices") == invoices


def test_one_top_up_is_pending_at_a_time_and_the_session_shows_it(market: Market) -> None:
    purse = funded_purse(market)
    pending = purse.top_up(100)
    assert purse.look()["pendingTopup"]["paymentRequest"] == pending
    assert purse.post("topup", {"amount_sats": 99}).status_code == httpx.codes.BAD_REQUEST
    second = purse.post("topup", {"amount_sats": 100})
    assert (second.status_code, second.json()["code"]) == (httpx.codes.CONFLICT, "topup_pending")
    market.wallet.pay(pending)
    eventually(lambda: purse.look()["balanceSats"] == 200, what="a credit")
    assert "pendingTopup" not in purse.look()
    market.wallet.pay(purse.top_up(300))
    eventually(lambda: purse.look()["balanceSats"] == 500, what="a second credit")


def test_of_many_top_ups_at_once_one_is_made(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.credential
    codes = at_once(*([lambda: purse.post("topup", {"amount_sats": 100}).status_code] * 8))
    assert sorted(codes) == [200, *([409] * 7)]


def test_the_macaroon_of_an_unpaid_top_up_opens_nothing(market: Market) -> None:
    purse = funded_purse(market)
    payment = purse.top_up()
    credential = minted(market, purse, "topup")
    path = f"/api/sessions/{purse.id}/request"
    assert market.api.post(path, json={"request": "Hi."}, headers=credential).status_code == httpx.codes.UNAUTHORIZED
    market.wallet.pay(payment)
    eventually(lambda: purse.look()["balanceSats"] == 200, what="a credit")
    assert market.api.post(path, json={"request": "Hi."}, headers=credential).status_code == httpx.codes.OK


def test_a_macaroon_and_the_deposits_preimage_are_a_credential_too(market: Market) -> None:
    purse = new_purse(market)
    preimage = market.wallet.pay(purse.deposit_request)["preimage"]
    token = purse.reach("active")["macaroon"]
    path = f"/api/sessions/{purse.id}/request"
    for scheme in ("L402", "LSAT"):
        good = {"Authorization": f"{scheme} {token}:{preimage}"}
        assert market.api.post(path, json={"request": "[sim:refuse]"}, headers=good).status_code == httpx.codes.OK
        wrong = {"Authorization": f"{scheme} {token}:{'0' * 64}"}
        assert market.api.post(path, json={"request": "Hi."}, headers=wrong).status_code == httpx.codes.UNAUTHORIZED


# -- idempotency


def test_a_repeated_key_gets_the_first_answer_and_no_second_request(market: Market) -> None:
    purse = funded_purse(market)
    body, key = {"request": f"Say something short. {uuid.uuid4().hex}"}, uuid.uuid4().hex
    first = purse.post("request", body, Idempotency_Key=key)
    again = purse.post("request", body, Idempotency_Key=key)
    assert first.status_code == again.status_code == httpx.codes.OK
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(purse.requests()) == 1
    other = purse.post("request", {"request": "Something else."}, Idempotency_Key=key)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert purse.close(purse.look()["balanceSats"]).json()["ok"] is True
    late = market.api.post(
        f"/api/sessions/{purse.id}/request", json=body, headers={**minted(market, purse), "Idempotency-Key": key}
    )
    assert (late.status_code, late.content) == (first.status_code, first.content), "the end of the session changed it"


def test_a_key_that_comes_five_times_at_once_makes_one_request(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.credential
    body, key = {"request": f"[sim:tokens:30][sim:pace:0.05] {uuid.uuid4().hex}"}, uuid.uuid4().hex

    def ask() -> httpx.Response:
        with httpx.Client(base_url=market.api.base_url, timeout=40, trust_env=False) as http:
            headers = {**purse.credential, "Idempotency-Key": key}
            return http.post(f"/api/sessions/{purse.id}/request", json=body, headers=headers)

    answers = at_once(*([ask] * 5))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert 200 in {answer.status_code for answer in answers}
    assert len(purse.requests()) == 1
    assert ask().json()["requestId"] == purse.requests()[0]["public_id"]


def test_past_the_wait_the_answer_tells_where_to_look_and_the_same_key_gets_the_end(market: Market) -> None:
    purse = funded_purse(market)
    body, key = {"request": f"[sim:tokens:30][sim:pace:0.05] {uuid.uuid4().hex}"}, uuid.uuid4().hex
    headers = {**purse.credential, "Idempotency-Key": key}
    with desk(market, sync_wait_s=0.0) as (_, client):
        answer = client.post(f"/api/sessions/{purse.id}/request", json=body, headers=headers)
    told = answer.get_json()
    assert (answer.status_code, told["code"]) == (500, "still_running")
    assert int(answer.headers["Retry-After"]) > 0
    ended = market.api.post(f"/api/sessions/{purse.id}/request", json=body, headers=headers)
    assert (ended.status_code, ended.json()["state"]) == (httpx.codes.OK, "complete")
    assert ended.headers["Idempotent-Replayed"] == "true"
    assert len(purse.requests()) == 1
    shown = market.api.get(answer.headers["Location"], headers=purse.credential).json()
    assert shown["requestId"] == ended.json()["requestId"]


def test_a_web_process_that_dies_has_made_one_request_that_the_same_key_finds(market: Market) -> None:
    purse = funded_purse(market)
    body, key = {"request": f"[sim:tokens:40][sim:pace:0.05] {uuid.uuid4().hex}"}, uuid.uuid4().hex
    headers = {**purse.credential, "Idempotency-Key": key}

    def ask() -> httpx.Response | None:
        try:
            with httpx.Client(base_url=market.api.base_url, timeout=40, trust_env=False) as http:
                return http.post(f"/api/sessions/{purse.id}/request", json=body, headers=headers)
        except httpx.TransportError:
            return None

    def kill() -> None:
        eventually(lambda: bool(purse.requests()), what="a request")
        market.stack.process("web").kill()

    assert at_once(ask, kill)[0] is None
    answer = eventually(ask, what="an answer", within_s=60)
    assert (answer.status_code, answer.json()["state"]) == (httpx.codes.OK, "complete")
    assert len(purse.requests()) == len(purse.receipts()) == 1


def test_a_repeated_key_opens_one_session_and_one_top_up(market: Market) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    made = [market.api.post("/api/sessions", json={"amount_sats": 321}, headers=key).json() for _ in range(2)]
    assert made[0] == made[1]
    purse = funded_purse(market)
    asked = [purse.post("topup", {"amount_sats": 100}, **key).json() for _ in range(2)]
    assert asked[0] == asked[1]


# -- those who leave, and those who die


def test_a_caller_who_leaves_is_served_and_debited(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.credential
    with pytest.raises(httpx.ReadTimeout):
        market.api.post(
            f"/api/sessions/{purse.id}/request",
            json={"request": "[sim:tokens:40][sim:pace:0.1]"},
            headers=purse.credential,
            timeout=1,
        )
    eventually(lambda: purse.balance.reserved == 0, what="an end")
    (request,) = purse.requests()
    assert request["state"] == "complete"
    assert purse.balance.earned == request["eval_msat"] + request["work_msat"] > 0
    shown = market.api.get(f"/api/sessions/{purse.id}/requests/{request['public_id']}", headers=purse.credential).json()
    assert shown["result"] == request["result"]


def test_a_worker_that_is_killed_at_work_debits_once(market: Market) -> None:
    purse = funded_purse(market)
    place = purse.ask("[sim:tokens:30][sim:pace:0.1]", Prefer="respond-async").headers["Location"]
    eventually(lambda: purse.requests()[0]["state"] == "executing", what="a request at work")
    market.stack.process("worker-llm").kill()
    eventually(lambda: purse.balance.reserved == 0, what="an end", within_s=40)
    shown = market.api.get(place, headers=purse.credential).json()
    assert shown["state"] == "complete"
    assert purse.balance.earned == shown["debitedSats"] * 1000
    assert purse.balance.held == 100_000 - purse.balance.earned
    assert len(purse.receipts()) == 1


# -- proof of payment


def test_where_proof_is_demanded_a_bare_id_tells_no_macaroon(market: Market) -> None:
    answer = market.api.post("/api/sessions", json={"amount_sats": 100}).json()
    purse = Purse(market, answer["sessionId"], answer["invoice"]["paymentRequest"])
    preimage = market.wallet.pay(purse.deposit_request)["preimage"]
    purse.reach("active")
    path = f"/api/sessions/{purse.id}"
    with desk(market, require_claim_proof=True) as (_, client):
        bare = client.get(path).get_json()
        assert ("macaroon" in bare, bare["macaroonWithheld"]) == (False, True)
        for headers in (
            {"X-Claim-Token": "0" * 64},
            {"X-Claim-Token": "é"},
            {"X-Payment-Preimage": "0" * 64},
            {"X-Payment-Preimage": "zz"},
            {"X-Payment-Preimage": ""},
        ):
            assert "macaroon" not in client.get(path, headers=headers).get_json()
        for headers in ({"X-Claim-Token": answer["claimToken"]}, {"X-Payment-Preimage": preimage}):
            shown = client.get(path, headers=headers).get_json()
            assert shown["macaroon"] == purse.look()["macaroon"]
            assert "macaroonWithheld" not in shown


def test_with_a_real_node_no_payment_hash_is_told(market: Market) -> None:
    with desk(market, env="production") as (_, client):
        made = client.post("/api/sessions", json={"amount_sats": 100}).get_json()
        assert set(made["invoice"]) == {"paymentRequest", "amountSats", "expiresAt", "uri", "qr"}


def test_jobs_and_sessions_count_together_towards_the_unpaid_of_an_address(market: Market) -> None:
    with desk(market, max_unpaid_invoices=3) as (_, client):
        environ = {"REMOTE_ADDR": "198.51.100.7"}
        for path, body in (
            ("/api/jobs", {"request": "Hi."}),
            ("/api/sessions", {"amount_sats": 100}),
            ("/api/jobs", {"request": "Hi."}),
        ):
            assert client.post(path, json=body, environ_base=environ).status_code == 201
        for path, body in (("/api/jobs", {"request": "Hi."}), ("/api/sessions", {"amount_sats": 100})):
            answer = client.post(path, json=body, environ_base=environ)
            assert (answer.status_code, answer.get_json()["code"]) == (429, "rate_limited")
            assert int(answer.headers["Retry-After"]) > 0


def test_an_unknown_session_is_404(market: Market) -> None:
    for name in ("x", "ses_" + "0" * 32, "job_" + "0" * 32):
        assert market.api.get(f"/api/sessions/{name}").status_code == httpx.codes.NOT_FOUND


def test_an_idle_session_is_topped_up_no_more(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.credential
    let_idle(purse)
    purse.reach_unasked("expired")
    refused = purse.post("topup", {"amount_sats": 100})
    assert (refused.status_code, refused.json()["code"]) == (httpx.codes.CONFLICT, "session_expired")
