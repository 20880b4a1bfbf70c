"""`lucid demo`: the product's main journeys, end to end, on real parts, as they happen. Ends at the first step that does not hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click
import httpx

from cli.demo_session import spend_a_session
from cli.journey import Journey, StepDoesNotHold, json_of, pay, require, require_status
from cli.sandbox import Wallet
from devstack.faults import StackFault
from devstack.home import home_of
from devstack.supervisor import Stack

REQUEST = "Write a Python function that returns the n-th Fibonacci number, with a one-line docstring. Answer with the code only."
# The demo should not wait an hour for its epoch, nor spend a hundred sats to show how a session pauses.
SETTINGS = {"EPOCH_MAX_AGE_S": "2", "SESSION_MINIMUM_SATS": "75"}
MODEL_PATIENCE_S = 240.0
PROOF_PATIENCE_S = 60.0


@click.command()
def demo() -> None:
    """Run the main job: pay, have it judged, pay, have it done, prove it, verify the proof offline.

    Exit code 0 only if every step held. Leaves the proof in $LUCID_HOME/demo.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = home_of(os.environ).folder
    journey = Journey()
    environment = {**SETTINGS, **os.environ}
    is_real = environment.get("LUCID_LLM") != "sim"
    stack = Stack(folder, environment, real_model=is_real, on_event=journey.say)
    try:
        _run(journey, stack, folder)
    except (StepDoesNotHold, StackFault, httpx.HTTPError, KeyboardInterrupt) as error:
        click.echo(f"\nThis step does not hold: {error or type(error).__name__}", err=True)
        click.echo(f"The logs are in {folder / 'logs'}.", err=True)
        sys.exit(1)
    finally:
        stack.stop()
    journey.summary()


def _run(journey: Journey, stack: Stack, folder: Path) -> None:
    with journey.step("Start the embedded stack"):
        stack.start()
        journey.say(f"the API is at {stack.endpoints['web']}; model {stack.environment['WORK_MODEL']}")
    with httpx.Client(base_url=stack.endpoints["web"], timeout=60, trust_env=False) as http:
        wallet = Wallet(stack.endpoints["wallet"])
        job = _buy(journey, http, wallet)
        bundle, trust = _prove(journey, http, job, folder)
        _claim_refund(journey, http, wallet, job)
        spend_a_session(journey, http, wallet)
    with journey.step("Stop everything"):
        stack.stop()
    with journey.step("Verify the receipt offline"):
        _verify(journey, bundle, trust)


def _buy(journey: Journey, http: httpx.Client, wallet: Wallet) -> dict[str, Any]:
    with journey.step("Create a job"):
        journey.say(f"request: {REQUEST}")
        created = json_of(http.post("/api/jobs", json={"request": REQUEST}), expect=201)
        path = f"/api/jobs/{created['jobId']}"
        journey.say(f"job {created['jobId']}; the evaluation costs {created['evalInvoice']['amountSats']} sats")
    with journey.step("Pay the evaluation invoice from the sandbox wallet"):
        pay(journey, wallet, created["evalInvoice"])
    with journey.step("The model evaluates the request"):
        job = _await_state(journey, http, path, "awaiting_work_payment")
        pricing = job["pricingBreakdown"]
        journey.say(f"accepted; the work costs at most {job['workInvoice']['amountSats']} sats")
        journey.say(f"estimate {pricing['estimatedCostUsd']} USD at {pricing['btcPriceUsd']} USD a bitcoin")
    with journey.step("Pay the work invoice"):
        pay(journey, wallet, job["workInvoice"])
    with journey.step("The model does the work"):
        job = _await_state(journey, http, path, "complete")
        for line in job["result"].strip().splitlines():
            journey.say(f"| {line}")
        _check_ledger(journey, job["costLedger"])
    return job


def _claim_refund(journey: Journey, http: httpx.Client, wallet: Wallet, job: dict[str, Any]) -> None:
    path, owed_sats = f"/api/jobs/{job['jobId']}", job["costLedger"]["refundAmountSats"]
    with journey.step("Claim the refund to the wallet"):
        before = wallet.balance_sats()
        answer = json_of(http.post(f"{path}/refund", json={"invoice": wallet.invoice(owed_sats)["payment_request"]}))
        require(answer["ok"] is True, f"the refund did not go through: {answer['message']}")
        journey.say(f"{answer['refundAmountSats']} sats, payment hash {answer['paymentHash']}")
        require(wallet.balance_sats() == before + owed_sats, "the wallet did not get the refund")
        require(json_of(http.get(path))["costLedger"]["refundState"] == "paid", "the refund is not booked as paid")


def _prove(journey: Journey, http: httpx.Client, job: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    receipt_id = job["receiptId"]
    with journey.step("The receipt is in the log"):
        proof = journey.wait_for(
            "the log", lambda: _found(http.get(f"/v1/receipts/{receipt_id}/proof")), patience_s=PROOF_PATIENCE_S
        )
        verdict = json_of(http.get(f"/v1/receipts/{receipt_id}/verify"))
        require(verdict["valid"] is True, "the service does not call its own receipt valid")
        journey.say(f"receipt {receipt_id}: leaf {proof['leaf_index']}, root {proof['root']}")
    with journey.step("The epoch closes and the witness cosigns"):
        epoch = journey.wait_for(
            "the anchored epoch", lambda: _anchored(http, proof["leaf_index"]), patience_s=PROOF_PATIENCE_S
        )
        journey.say(f"epoch {epoch['epoch_id']}: {epoch['leaf_count']} receipts, {epoch['status']}")
    with journey.step("Write bundle and trust file"):
        target = folder / "demo"
        target.mkdir(parents=True, exist_ok=True)
        bundle, trust = target / "bundle.json", target / "trust.json"
        bundle.write_bytes(require_status(http.get(f"/v1/receipts/{receipt_id}/bundle")).content)
        trust.write_bytes(require_status(http.get("/v1/trust")).content)
        journey.say(f"{bundle} ({bundle.stat().st_size} bytes), {trust}")
    return bundle, trust


def _verify(journey: Journey, bundle: Path, trust: Path) -> None:
    """Run the public command, in a process of its own, with nothing else running and no settings."""
    command = [sys.executable, "-m", "cli.main", "verify", str(bundle.absolute()), "--trust", str(trust.absolute())]
    root = Path(__file__).resolve().parents[1]
    outcome = subprocess.run(command, cwd=root, env={"PATH": ""}, capture_output=True, text=True, check=False)
    for line in (outcome.stdout + outcome.stderr).splitlines():
        journey.say(line)
    require(outcome.returncode == 0, f"`lucid verify` ended with exit code {outcome.returncode}")


def _await_state(journey: Journey, http: httpx.Client, path: str, state: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = json_of(http.get(path))
        if job["state"] in ("failed", "rejected"):
            raise StepDoesNotHold(f"the job is {job['state']}: {job.get('errorMessage') or job.get('reason')}")
        return job if job["state"] == state else None

    return journey.wait_for(f"the state {state}", look, patience_s=MODEL_PATIENCE_S)


def _check_ledger(journey: Journey, cost: dict[str, Any]) -> None:
    journey.say(
        f"{cost['actualInputTokens']} tokens in, {cost['actualOutputTokens']} out: charged {cost['actualAmountSats']}"
        f" of {cost['workAmountSats']} sats, {cost['refundAmountSats']} owed back ({cost['refundState']})"
    )
    require(cost["totalTokens"] == cost["actualInputTokens"] + cost["actualOutputTokens"], "the tokens do not add up")
    require(cost["actualOutputTokens"] > 0, "no tokens were counted")
    require(cost["workAmountSats"] - cost["actualAmountSats"] == cost["refundAmountSats"], "the sats do not add up")


def _anchored(http: httpx.Client, leaf_index: int) -> dict[str, Any] | None:
    for epoch in json_of(http.get("/v1/epochs"))["epochs"]:
        if epoch["status"] == "anchored" and epoch["start_leaf_index"] <= leaf_index <= epoch["end_leaf_index"]:
            found: dict[str, Any] = epoch
            return found
    return None


def _found(answer: httpx.Response) -> dict[str, Any] | None:
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    found: dict[str, Any] = json_of(answer)["proof"]
    return found


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt("interrupted")
