"""The demo's second journey: a prefunded session, spent until it pauses, topped up, closed with its rest paid out."""

from __future__ import annotations

from typing import Any

import httpx

from cli.journey import Journey, StepDoesNotHold, json_of, pay, require
from cli.sandbox import Wallet

QUESTIONS = (
    "Write a Python function that adds two numbers. Answer with the code only.",
    "Write a Python function that returns the largest of three numbers. Answer with the code only.",
    "Write a Python function that reverses a string. Answer with the code only.",
)
DEPOSIT_SATS = 100
MOST_REQUESTS = 12
ACTIVATION_PATIENCE_S = 30.0


def spend_a_session(journey: Journey, http: httpx.Client, wallet: Wallet) -> None:
    """Deposit, ask until the session pauses (three times at least), top up, ask again, close."""
    with journey.step("Open a session and pay its deposit"):
        created = json_of(http.post("/api/sessions", json={"amount_sats": DEPOSIT_SATS}), expect=201)
        path = f"/api/sessions/{created['sessionId']}"
        pay(journey, wallet, created["invoice"])
        session = _await_state(journey, http, path, "active")
        credential = {"Authorization": f"Bearer {session['macaroon']}"}
        journey.say(f"{session['balanceSats']} sats; pauses below {session['minimumBalanceSats']}")
    with journey.step("Ask until the balance is too small"):
        _ask_until_paused(journey, http, path, credential)
    with journey.step("Top it up"):
        answer = http.post(f"{path}/topup", json={"amount_sats": DEPOSIT_SATS}, headers=credential)
        pay(journey, wallet, json_of(answer)["topup"])
        session = _await_state(journey, http, path, "active")
        journey.say(f"active again with {session['balanceSats']} sats")
        _ask(journey, http, path, credential, QUESTIONS[0])
    with journey.step("Close it and take the rest"):
        left_sats = json_of(http.get(path))["balanceSats"]
        before = wallet.balance_sats()
        body = {"invoice": wallet.invoice(left_sats)["payment_request"]}
        closed = json_of(http.post(f"{path}/close", json=body, headers=credential))
        require(closed["ok"] is True, f"the rest was not paid out: {closed['message']}")
        require(wallet.balance_sats() == before + left_sats, "the wallet did not get the rest")
        journey.say(f"{closed['refundAmountSats']} sats, payment hash {closed['paymentHash']}; {closed['state']}")


def _ask_until_paused(journey: Journey, http: httpx.Client, path: str, credential: dict[str, str]) -> None:
    for number in range(MOST_REQUESTS):
        _ask(journey, http, path, credential, QUESTIONS[number % len(QUESTIONS)])
        if json_of(http.get(path))["state"] == "paused":
            require(number + 1 >= len(QUESTIONS), "the session paused before its third request")
            refused = http.post(f"{path}/request", json={"request": QUESTIONS[0]}, headers=credential)
            json_of(refused, expect=402)
            journey.say("paused: another request answers 402, and costs nothing")
            return
    raise StepDoesNotHold(f"the session did not pause in {MOST_REQUESTS} requests")


def _ask(journey: Journey, http: httpx.Client, path: str, credential: dict[str, str], question: str) -> None:
    answer = json_of(http.post(f"{path}/request", json={"request": question}, headers=credential, timeout=300))
    # a small model's judgement may be a refusal: that is an answer too, and costs what judging cost
    require(answer["state"] in ("complete", "rejected"), f"a request is {answer['state']}: {answer}")
    said = " ".join(str(answer.get("result") or f"(refused) {answer.get('reason')}").split())[:60]
    journey.say(f"{question} {said} (-{answer['debitedSats']}, {answer['balanceRemaining']} sats left)")


def _await_state(journey: Journey, http: httpx.Client, path: str, state: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        session = json_of(http.get(path))
        return session if session["state"] == state else None

    return journey.wait_for(f"the state {state}", look, patience_s=ACTIVATION_PATIENCE_S)
