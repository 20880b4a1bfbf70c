"""Prefunded sessions: paid once, asked often, paused, topped up, closed. Each end is told alike by answer, ledger and receipt."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.market import Market
from tests.e2e.patience import at_once, eventually
from tests.e2e.purse import Balance, Purse, funded_purse, new_purse

INVOICE = {"paymentRequest", "amountSats", "paymentHash", "expiresAt", "uri", "qr"}
STANDING = {"sessionId", "state", "balanceSats", "availableSats", "minimumBalanceSats", "createdAt", "expiresAt"}
DONE = {"requestId", "state", "result", "debitedSats", "balanceRemaining", "cost", "createdAt", "receiptId"}
LONG = "[sim:tokens:1024]"  # about 31 sats: the most that a short request can cost, but for the judgement's second try
SHORT_MOST_SATS = 38


def answered(purse: Purse, text: str = "Say something short.") -> dict[str, Any]:
    """Have a request done; return its answer."""
    answer = purse.ask(text)
    assert answer.status_code == httpx.codes.OK, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_session_is_paid_once_asked_twice_and_closed_with_the_rest_paid_out(market: Market) -> None:
    purse = new_purse(market, 200)
    waiting = purse.look()
    assert set(waiting) == STANDING | {"invoice"}
    assert set(waiting["invoice"]) == INVOICE
    assert purse.balance == Balance(0, 0, 0, 0, {})

    purse.pay_deposit()
    active = purse.reach("active")
    assert set(active) == STANDING | {"macaroon"}
    assert (active["balanceSats"], active["availableSats"], active["minimumBalanceSats"]) == (200, 200, 50)

    debited = 0
    for _ in range(2):
        done = answered(purse)
        cost = done["cost"]
        assert set(done) == DONE
        assert done["state"] == "complete"
        assert cost["totalSats"] == cost["evalSats"] + cost["workSats"] == done["debitedSats"] > 2
        assert cost["btcPriceUsd"] == 100_000
        debited += cost["totalSats"]
        assert done["balanceRemaining"] == 200 - debited
    assert purse.balance == Balance(200_000, 200_000 - debited * 1000, 0, debited * 1000, {})

    before = market.wallet.balance_sats()
    closed = purse.close(200 - debited)
    assert closed.status_code == httpx.codes.OK, closed.text
    told = closed.json()
    assert (told["ok"], told["state"], told["refundAmountSats"]) == (True, "expired", 200 - debited)
    assert market.wallet.balance_sats() == before + 200 - debited
    assert purse.balance == Balance(200_000, 0, 0, debited * 1000, {})
    assert purse.moves == ["awaiting_payment", "active", "expired"]
    shown = purse.look()
    assert set(shown) == STANDING | {"withdrawableSats", "withdrawal"}
    assert (shown["withdrawableSats"], shown["withdrawal"]["state"]) == (0, "paid")


def test_each_request_leaves_a_receipt_that_tells_what_it_was_debited(market: Market) -> None:
    purse = funded_purse(market)
    done = answered(purse)
    (receipt,) = purse.receipts()
    assert receipt["receipt_id"] == done["receiptId"]
    assert (receipt["kind"], receipt["finish_reason"]) == ("session_request", "stop")
    assert receipt["received_msat"] == receipt["charged_msat"] == done["debitedSats"] * 1000
    assert receipt["owed_back_msat"] == 0
    assert receipt["payment_hash"] == purse.payment_hash("deposit")
    path = f"/v1/receipts/{done['receiptId']}"
    eventually(lambda: market.api.get(f"{path}/proof").status_code == httpx.codes.OK, what="a leaf in the log")
    assert market.api.get(f"{path}/verify").json()["valid"] is True


def test_a_refusal_is_debited_what_judging_cost_and_says_why(market: Market) -> None:
    purse = funded_purse(market)
    told = answered(purse, "[sim:refuse]")
    assert (told["state"], told["cost"]["workSats"]) == ("rejected", 0)
    assert told["reason"]
    assert "result" not in told
    assert 0 < told["debitedSats"] == told["cost"]["evalSats"] < 10
    assert purse.balance == Balance(100_000, 100_000 - told["debitedSats"] * 1000, 0, told["debitedSats"] * 1000, {})
    (receipt,) = purse.receipts()
    assert (receipt["finish_reason"], receipt["charged_msat"]) == ("refused", told["debitedSats"] * 1000)


@pytest.mark.parametrize(
    ("text", "why"),
    [("[sim:garbage_content]", "evaluation"), ("[sim:status:400]", "evaluation"), ("work", "work")],
)
def test_a_request_that_fails_is_free_and_its_reservation_is_released(market: Market, text: str, why: str) -> None:
    purse = funded_purse(market)
    if why == "work":
        placed = purse.ask("[sim:tokens:60][sim:pace:0.05]", Prefer="respond-async")
        place = placed.headers["Location"]
        eventually(lambda: purse.requests()[-1]["state"] == "executing", what="a request at work")
        market.model.fault("status:400", match=purse.requests()[-1]["request"][-33:], times=None)
        market.stack.process("worker-llm").kill()

        def ended() -> dict[str, Any] | None:
            shown: dict[str, Any] = market.api.get(place, headers=purse.credential).json()
            return shown if shown["state"] not in ("evaluating", "executing") else None

        told = eventually(ended, what="an end", within_s=40)
    else:
        told = answered(purse, text)
    assert (told["state"], told["debitedSats"], told["balanceRemaining"]) == ("failed", 0, 100)
    assert why in told["errorMessage"]
    assert told["cost"]["totalSats"] == 0
    assert purse.balance == Balance(100_000, 100_000, 0, 0, {})
    (receipt,) = purse.receipts()
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (0, 0)
    assert purse.look()["state"] == "active"


def test_a_session_pauses_below_its_minimum_and_a_top_up_resumes_it(market: Market) -> None:
    purse = funded_purse(market)
    while answered(purse, LONG)["balanceRemaining"] >= 50:
        assert purse.state == "active"
    left = purse.look()["balanceSats"]
    assert (purse.state, purse.balance.held) == ("paused", left * 1000)

    refused = purse.ask()
    assert refused.status_code == httpx.codes.PAYMENT_REQUIRED
    told = refused.json()
    assert (told["code"], told["requiredSats"], told["availableSats"]) == (
        "insufficient_balance",
        SHORT_MOST_SATS,
        left,
    )
    assert len(purse.requests()) == len(purse.receipts())
    shown = purse.look()
    assert (shown["state"], set(shown)) == ("paused", STANDING | {"macaroon"})

    market.wallet.pay(purse.top_up(150))
    assert purse.reach("active")["balanceSats"] == left + 150
    assert answered(purse)["state"] == "complete"
    assert purse.moves == ["awaiting_payment", "active", "paused", "active"]


def test_an_active_session_without_enough_for_a_request_says_how_much_it_takes(market: Market) -> None:
    purse = funded_purse(market)
    answered(purse, LONG)
    available = purse.look()["availableSats"]
    refused = purse.ask("x" * 7900)
    assert refused.status_code == httpx.codes.PAYMENT_REQUIRED
    told = refused.json()
    assert told["availableSats"] == available < told["requiredSats"] <= 100
    assert purse.look()["state"] == "active"
    assert purse.balance.reserved == 0


def test_the_dearest_request_that_is_admitted_fits_into_the_smallest_deposit(market: Market) -> None:
    purse = funded_purse(market)
    text = "word " * 1586 + LONG
    assert 7900 < len(text) < 8000 - 35
    told = answered(purse, text)
    assert told["state"] == "complete"
    assert told["cost"]["totalSats"] * 1000 <= purse.requests()[0]["reserved_msat"] <= 100_000


def test_what_a_request_costs_beyond_its_reservation_is_the_operators_loss(market: Market) -> None:
    purse = funded_purse(market)
    told = answered(purse, "!" * 7900 + LONG)  # each "!" is a token of its own: far more than the estimate allows
    assert told["debitedSats"] * 1000 == purse.requests()[0]["reserved_msat"]
    assert purse.balance.held == 100_000 - told["debitedSats"] * 1000


def test_too_much_paid_is_credited_whole_and_the_part_of_a_sat_stays_owed(market: Market) -> None:
    purse = new_purse(market)
    market.lightning.overpay(purse.deposit_request, 130_400)
    assert purse.reach("active")["balanceSats"] == 130
    assert purse.close(130).json()["ok"] is True
    assert purse.balance == Balance(130_400, 0, 0, 0, {"rest": 400})
    shown = purse.look()
    assert (shown["withdrawableSats"], "macaroon" in shown) == (0, False)


def test_of_twenty_requests_at_once_on_a_balance_for_three_some_succeed_and_nothing_is_overdrawn(
    market: Market,
) -> None:
    purse = funded_purse(market, 3 * SHORT_MOST_SATS + 5)
    assert purse.credential
    lowest = [0]

    def ask() -> int:
        with httpx.Client(base_url=market.api.base_url, timeout=60, trust_env=False) as http:
            body = {"request": f"Say something short. {LONG}"}
            return http.post(f"/api/sessions/{purse.id}/request", json=body, headers=purse.credential).status_code

    def watch() -> int:
        for _ in range(40):
            balance = purse.balance
            lowest.append(balance.held - balance.reserved)
        return 0

    codes = at_once(*([ask] * 20), watch)[:20]
    assert set(codes) == {200, 402}
    assert 1 <= codes.count(200) <= 3
    assert min(lowest) >= 0
    balance = purse.balance
    assert (balance.reserved, balance.held) == (0, balance.received - balance.earned)
    assert balance.held >= 0
    assert [request["state"] for request in purse.requests()] == ["complete"] * codes.count(200)
    assert len(purse.receipts()) == codes.count(200)


def test_prefer_respond_async_is_told_where_to_look(market: Market) -> None:
    purse = funded_purse(market)
    placed = purse.ask("[sim:tokens:40][sim:pace:0.05]", Prefer="respond-async")
    assert placed.status_code == httpx.codes.ACCEPTED
    assert placed.headers["Preference-Applied"] == "respond-async"
    told, place = placed.json(), placed.headers["Location"]
    assert place == f"/api/sessions/{purse.id}/requests/{told['requestId']}"
    assert (told["state"], told["debitedSats"], told["reservedSats"]) == ("evaluating", 0, SHORT_MOST_SATS)
    assert purse.look()["availableSats"] == 100 - SHORT_MOST_SATS
    assert market.api.get(place).status_code == httpx.codes.UNAUTHORIZED

    def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = market.api.get(place, headers=purse.credential).json()
        return shown if shown["state"] == "complete" else None

    shown = eventually(ended, what="an end")
    assert set(shown) == DONE
    listed = market.api.get(f"/api/sessions/{purse.id}/requests", headers=purse.credential).json()
    assert listed == {"sessionId": purse.id, "requests": [shown]}


def test_a_sessions_requests_are_listed_page_by_page_to_its_holder(market: Market) -> None:
    purse, other = funded_purse(market, 500), funded_purse(market)
    ids = [answered(purse, "[sim:refuse]")["requestId"] for _ in range(3)][::-1]
    path = f"/api/sessions/{purse.id}/requests"
    first = market.api.get(path, params={"limit": 2}, headers=purse.credential).json()
    assert [request["requestId"] for request in first["requests"]] == ids[:2]
    second = market.api.get(path, params={"limit": 2, "before": first["nextBefore"]}, headers=purse.credential).json()
    assert [request["requestId"] for request in second["requests"]] == ids[2:]
    assert "nextBefore" not in second
    assert market.api.get(path, headers=other.credential).status_code == httpx.codes.UNAUTHORIZED
    unknown = f"/api/sessions/{other.id}/requests/{ids[0]}"
    assert market.api.get(unknown, headers=other.credential).status_code == httpx.codes.NOT_FOUND
    for query in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}):
        assert market.api.get(path, params=query, headers=purse.credential).status_code == httpx.codes.BAD_REQUEST


# -- the end


def test_closing_asks_for_exactly_what_is_left(market: Market) -> None:
    purse = funded_purse(market)
    for amount in (None, 99, 101):
        refused = purse.close(amount)
        assert refused.status_code == httpx.codes.BAD_REQUEST
        assert "exactly 100 sats" in refused.json()["error"]
    for body in ({"invoice": "lnbc1nonsense"}, {"invoice": 7}, {"invoice": ""}):
        assert purse.post("close", body).status_code == httpx.codes.BAD_REQUEST
    assert (purse.state, purse.balance.held) == ("active", 100_000)
    invoice = market.wallet.invoice(100)["payment_request"]
    first, again = (purse.post("close", {"invoice": invoice}).json() for _ in range(2))
    assert first == again
    assert first["ok"] is True
    other = purse.close(100)
    assert (other.status_code, other.json()["code"]) == (httpx.codes.CONFLICT, "already_paid")
    assert purse.close(None).json() == {**first}


def test_a_session_with_a_running_request_cannot_be_closed(market: Market) -> None:
    purse = funded_purse(market)
    purse.ask("[sim:tokens:40][sim:pace:0.1]", Prefer="respond-async")
    refused = purse.close(100)
    assert (refused.status_code, refused.json()["code"]) == (httpx.codes.CONFLICT, "requests_running")
    eventually(lambda: purse.balance.reserved == 0, what="an end")
    left = purse.look()["balanceSats"]
    assert purse.close(left).json()["ok"] is True


def test_a_payout_that_fails_leaves_everything_owed_and_another_invoice_is_paid(market: Market) -> None:
    purse = funded_purse(market)
    market.lightning.fault("SendPaymentV2", "fail:NO_ROUTE")
    invoice = market.wallet.invoice(100)["payment_request"]
    failed = purse.post("close", {"invoice": invoice})
    assert (failed.status_code, failed.json()["code"]) == (httpx.codes.INTERNAL_SERVER_ERROR, "payment_failed")
    market.lightning.heal()
    shown = purse.look()
    assert (shown["state"], shown["withdrawableSats"], shown["withdrawal"]["state"]) == ("expired", 100, "failed")
    assert purse.balance.owed == {"unspent": 100_000}
    assert purse.close(None).status_code == httpx.codes.BAD_REQUEST
    assert purse.close(99).status_code == httpx.codes.BAD_REQUEST
    assert purse.close(100).json()["ok"] is True
    assert purse.balance == Balance(100_000, 0, 0, 0, {})


def test_an_idle_session_ends_and_what_it_had_is_withdrawn(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.credential
    pending = purse.top_up()
    let_idle(purse)
    purse.reach_unasked("expired")
    shown = purse.look()
    assert (shown["balanceSats"], shown["withdrawableSats"]) == (0, 100)
    assert shown["macaroon"] == purse.credential["Authorization"].removeprefix("Bearer ")
    assert "pendingTopup" not in shown
    assert purse.balance == Balance(100_000, 0, 0, 0, {"unspent": 100_000})
    assert purse.ask().status_code == httpx.codes.GONE

    def is_unpayable() -> bool:
        invoice = market.lightning.invoice(purse.payment_hash("topup"))
        return invoice is not None and invoice["state"] == "CANCELED"

    eventually(is_unpayable, what="a top-up that cannot be paid")
    with pytest.raises(RuntimeError):
        market.wallet.pay(pending)
    assert purse.close(100).json()["ok"] is True
    assert purse.balance == Balance(100_000, 0, 0, 0, {})


def test_a_session_in_which_something_runs_does_not_end_and_its_use_counts(market: Market) -> None:
    purse = funded_purse(market)
    purse.ask("[sim:tokens:40][sim:pace:0.08]", Prefer="respond-async")
    let_idle(purse)
    eventually(lambda: purse.balance.reserved == 0, what="an end", within_s=40)
    assert purse.requests()[0]["state"] == "complete"
    purse.reach_unasked("expired")
    assert purse.balance.held == 0


def test_a_top_up_that_arrives_after_the_end_is_owed_back_with_the_rest(market: Market) -> None:
    purse = funded_purse(market)
    assert purse.credential
    purse.top_up(120)
    let_idle(purse)
    purse.reach_unasked("expired")
    market.lightning.settle_late(purse.payment_hash("topup"))
    eventually(lambda: purse.balance.owed == {"unspent": 100_000, "late": 120_000}, what="a late credit", within_s=60)
    assert purse.look()["withdrawableSats"] == 220
    assert purse.close(220).json()["ok"] is True
    assert purse.balance == Balance(220_000, 0, 0, 0, {})


@pytest.mark.parametrize("round_number", range(6))
def test_a_request_a_top_up_and_a_close_at_once_lose_nothing(market: Market, round_number: int) -> None:
    purse = funded_purse(market, 300)
    pending, closings = purse.top_up(200), [purse.close_body(sats) for sats in (300, 500)]
    before = market.wallet.balance_sats()

    def post(call: str, body: dict[str, str]) -> httpx.Response:
        with httpx.Client(base_url=market.api.base_url, timeout=60, trust_env=False) as http:
            return http.post(f"/api/sessions/{purse.id}/{call}", json=body, headers=purse.credential)

    def pay() -> None:
        try:
            market.wallet.pay(pending)
        except RuntimeError:
            assert purse.state == "expired", "only a session that has ended takes no top-up"

    calls = [
        lambda: post("request", {"request": LONG}),
        pay,
        *(lambda body=body: post("close", body) for body in closings),
    ]
    turned = calls[round_number % 4 :] + calls[: round_number % 4]
    answers = [answer for answer in at_once(*turned) if answer is not None]
    assert {answer.status_code for answer in answers} <= {200, 400, 402, 409, 410}
    eventually(lambda: purse.balance.reserved == 0, what="an end")
    market.require_true_books()
    paid_out = sum(answer.json()["refundAmountSats"] for answer in answers if answer.json().get("ok"))
    balance = purse.balance
    assert balance.received == balance.held + balance.earned + sum(balance.owed.values()) + paid_out * 1000
    assert market.wallet.balance_sats() == before + paid_out - (balance.received - 300_000) // 1000
    assert (purse.state == "expired") == (paid_out > 0 or balance.held == 0)


def let_idle(purse: Purse) -> None:
    """Have the session's idle time be over: what a day does."""
    purse.market.ledger.rows(
        "UPDATE sessions SET expires_at = now() - interval '1 s' WHERE id = %(id)s RETURNING id", id=purse.row_id
    )
