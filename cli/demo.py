"""`lucid demo`: the product's main job, end to end, on real parts, as it happens. Ends at the first step that does not hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click
import httpx

from cli.sandbox import Wallet
from devstack.faults import StackFault
from devstack.home import home_of
from devstack.supervisor import Stack

REQUEST = "Write a Python function that returns the n-th Fibonacci number, with a one-line docstring. Answer with the code only."
EPOCH_MAX_AGE_S = "2"  # the demo should not wait an hour for its epoch
MODEL_PATIENCE_S = 240.0
PROOF_PATIENCE_S = 60.0
_POLL_S = 0.25

Found = TypeVar("Found")


class StepDoesNotHold(Exception):
    """A step of the journey came out otherwise than it must."""


class Journey:
    """Prints what happens, with the time since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._steps: list[tuple[str, float]] = []
        self._pause = threading.Event()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Name what follows and time it."""
        began = time.monotonic()
        click.echo(f"[{began - self._started:6.2f} s] {title}")
        yield
        self._steps.append((title, time.monotonic() - began))

    def say(self, text: str) -> None:
        """Print a detail of the current step."""
        click.echo(f"           {text}")

    def wait_for(self, what: str, look: Callable[[], Found | None], *, patience_s: float) -> Found:
        """Return `look()` once it finds something. Raises `StepDoesNotHold` when patience (seconds) ends."""
        ends_at = time.monotonic() + patience_s
        while time.monotonic() < ends_at:
            found = look()
            if found is not None:
                return found
            self._pause.wait(_POLL_S)
        raise StepDoesNotHold(f"{what} did not come within {patience_s:.0f} s")

    def summary(self) -> None:
        """Print how long each step took."""
        click.echo("\nEvery step held:")
        for title, took_s in self._steps:
            click.echo(f"  {took_s:7.2f} s  {title}")
        click.echo(f"  {time.monotonic() - self._started:7.2f} s  in all")


@click.command()
def demo() -> None:
    """Run the main job: pay, have it judged, pay, have it done, prove it, verify the proof offline.

    Exit code 0 only if every step held. Leaves the proof in $LUCID_HOME/demo.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = home_of(os.environ).folder
    journey = Journey()
    environment = {"EPOCH_MAX_AGE_S": EPOCH_MAX_AGE_S, **os.environ}
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
    with journey.step("Stop everything"):
        stack.stop()
    with journey.step("Verify the receipt offline"):
        _verify(journey, bundle, trust)


def _buy(journey: Journey, http: httpx.Client, wallet: Wallet) -> dict[str, Any]:
    with journey.step("Create a job"):
        journey.say(f"request: {REQUEST}")
        created = _json(http.post("/api/jobs", json={"request": REQUEST}), expect=201)
        path = f"/api/jobs/{created['jobId']}"
        journey.say(f"job {created['jobId']}; the evaluation costs {created['evalInvoice']['amountSats']} sats")
    with journey.step("Pay the evaluation invoice from the sandbox wallet"):
        _pay(journey, wallet, created["evalInvoice"])
    with journey.step("The model evaluates the request"):
        job = _await_state(journey, http, path, "awaiting_work_payment")
        pricing = job["pricingBreakdown"]
        journey.say(f"accepted; the work costs at most {job['workInvoice']['amountSats']} sats")
        journey.say(f"estimate {pricing['estimatedCostUsd']} USD at {pricing['btcPriceUsd']} USD a bitcoin")
    with journey.step("Pay the work invoice"):
        _pay(journey, wallet, job["workInvoice"])
    with journey.step("The model does the work"):
        job = _await_state(journey, http, path, "complete")
        for line in job["result"].strip().splitlines():
            journey.say(f"| {line}")
        _check_ledger(journey, job["costLedger"])
    return job


def _prove(journey: Journey, http: httpx.Client, job: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    receipt_id = job["receiptId"]
    with journey.step("The receipt is in the log"):
        proof = journey.wait_for(
            "the log", lambda: _found(http.get(f"/v1/receipts/{receipt_id}/proof")), patience_s=PROOF_PATIENCE_S
        )
        verdict = _json(http.get(f"/v1/receipts/{receipt_id}/verify"))
        _require(verdict["valid"] is True, "the service does not call its own receipt valid")
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
        bundle.write_bytes(_ok(http.get(f"/v1/receipts/{receipt_id}/bundle")).content)
        trust.write_bytes(_ok(http.get("/v1/trust")).content)
        journey.say(f"{bundle} ({bundle.stat().st_size} bytes), {trust}")
    return bundle, trust


def _verify(journey: Journey, bundle: Path, trust: Path) -> None:
    """Run the public command, in a process of its own, with nothing else running and no settings."""
    command = [sys.executable, "-m", "cli.main", "verify", str(bundle.absolute()), "--trust", str(trust.absolute())]
    root = Path(__file__).resolve().parents[1]
    outcome = subprocess.run(command, cwd=root, env={"PATH": ""}, capture_output=True, text=True, check=False)
    for line in (outcome.stdout + outcome.stderr).splitlines():
        journey.say(line)
    _require(outcome.returncode == 0, f"`lucid verify` ended with exit code {outcome.returncode}")


def _pay(journey: Journey, wallet: Wallet, invoice: dict[str, Any]) -> None:
    try:
        paid = wallet.pay(invoice["paymentRequest"])
    except RuntimeError as error:
        raise StepDoesNotHold(str(error)) from error
    journey.say(f"{invoice['amountSats']} sats, payment hash {paid['payment_hash']}")


def _await_state(journey: Journey, http: httpx.Client, path: str, state: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job = _json(http.get(path))
        if job["state"] in ("failed", "rejected"):
            raise StepDoesNotHold(f"the job is {job['state']}: {job.get('errorMessage') or job.get('reason')}")
        return job if job["state"] == state else None

    return journey.wait_for(f"the state {state}", look, patience_s=MODEL_PATIENCE_S)


def _check_ledger(journey: Journey, cost: dict[str, Any]) -> None:
    journey.say(
        f"{cost['actualInputTokens']} tokens in, {cost['actualOutputTokens']} out: charged {cost['actualAmountSats']}"
        f" of {cost['workAmountSats']} sats, {cost['refundAmountSats']} owed back ({cost['refundState']})"
    )
    _require(cost["totalTokens"] == cost["actualInputTokens"] + cost["actualOutputTokens"], "the tokens do not add up")
    _require(cost["actualOutputTokens"] > 0, "no tokens were counted")
    _require(cost["workAmountSats"] - cost["actualAmountSats"] == cost["refundAmountSats"], "the sats do not add up")


def _anchored(http: httpx.Client, leaf_index: int) -> dict[str, Any] | None:
    for epoch in _json(http.get("/v1/epochs"))["epochs"]:
        if epoch["status"] == "anchored" and epoch["start_leaf_index"] <= leaf_index <= epoch["end_leaf_index"]:
            found: dict[str, Any] = epoch
            return found
    return None


def _found(answer: httpx.Response) -> dict[str, Any] | None:
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    found: dict[str, Any] = _json(answer)["proof"]
    return found


def _json(answer: httpx.Response, *, expect: int = 200) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_ok(answer, expect=expect).content)
    return document


def _ok(answer: httpx.Response, *, expect: int = 200) -> httpx.Response:
    _require(answer.status_code == expect, f"{answer.request.url} answered {answer.status_code}: {answer.text[:300]}")
    return answer


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StepDoesNotHold(otherwise)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt("interrupted")
