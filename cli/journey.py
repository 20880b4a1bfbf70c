"""How a demonstration is told: steps with their times, answers that must come out as they should."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import httpx

from cli.sandbox import Wallet

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


def pay(journey: Journey, wallet: Wallet, invoice: dict[str, Any]) -> None:
    """Pay an invoice of the API from the wallet."""
    try:
        paid = wallet.pay(invoice["paymentRequest"])
    except RuntimeError as error:
        raise StepDoesNotHold(str(error)) from error
    journey.say(f"{invoice['amountSats']} sats, payment hash {paid['payment_hash']}")


def json_of(answer: httpx.Response, *, expect: int = 200) -> dict[str, Any]:
    """Return the answer's body. Raises `StepDoesNotHold` for another status than `expect`."""
    document: dict[str, Any] = json.loads(require_status(answer, expect=expect).content)
    return document


def require_status(answer: httpx.Response, *, expect: int = 200) -> httpx.Response:
    """Return the answer. Raises `StepDoesNotHold` for another status than `expect`."""
    require(
        answer.status_code == expect, f"{answer.request.url.path} answered {answer.status_code}: {answer.text[:300]}"
    )
    return answer


def require(holds: bool, otherwise: str) -> None:
    """Raise `StepDoesNotHold`, which says `otherwise`, where something does not hold."""
    if not holds:
        raise StepDoesNotHold(otherwise)
