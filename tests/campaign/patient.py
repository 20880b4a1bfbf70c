"""Somebody who does not give up: whatever breaks, he asks again, pays what he was asked for, and takes what he is owed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import httpx

from cli.sandbox import Wallet

Found = TypeVar("Found")
Headers = Callable[[], Mapping[str, str]]

PAID_BEFORE = "already paid"
_PAUSE_S = 0.25
_ANSWER_WITHIN_S = 60.0  # web listens before it has started, which on a busy machine takes it half of that
_BROKEN = (httpx.HTTPError, RuntimeError, json.JSONDecodeError, IndexError, AssertionError)


class OutOfPatience(AssertionError):
    """Something did not come about in time; the last thing that went wrong is its text."""


class Patient:
    """One caller with a wallet, in front of a running stack. Not for several threads at once.

    `on_conflict` is called with an Idempotency-Key whose first call is said to run still: it may have died.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Any],
        *,
        patience_s: float = 90.0,
        on_conflict: Callable[[str], object] = lambda _key: None,
    ) -> None:
        self._api = httpx.Client(
            base_url=endpoints["web"],
            timeout=_ANSWER_WITHIN_S,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # web dies and comes back between two calls
        )
        self._endpoints = endpoints
        self._patience_s = patience_s
        self._on_conflict = on_conflict
        self.paid_to_me: dict[str, int] = {}
        """The sats of each refund and withdrawal that was told to be paid, by payment hash."""

    def close(self) -> None:
        """Close his connection."""
        self._api.close()

    def until(self, attempt: Callable[[], Found | None], *, what: str) -> Found:
        """Try until something comes of it."""
        deadline = time.monotonic() + self._patience_s
        pause = threading.Event()
        trouble = "it was only waited for"
        while time.monotonic() < deadline:
            try:
                found = attempt()
            except _BROKEN as error:
                trouble, found = f"{type(error).__name__}: {error}", None
            if found:
                return found
            pause.wait(_PAUSE_S)
        raise OutOfPatience(f"{what} did not come about within {self._patience_s:g} s; last: {trouble}")

    def pay(self, payment_request: str, *, is_over: Callable[[], bool] = lambda: False) -> None:
        """Pay an invoice once, however often the wallet has to be asked; not where what it was for `is_over`."""

        def pay_once() -> bool:
            with self._wallet() as wallet:
                try:
                    wallet.pay(payment_request)
                except RuntimeError as error:
                    if PAID_BEFORE not in str(error) and not is_over():
                        raise
            return True

        self.until(pay_once, what="a payment")

    def take(
        self,
        path: str,
        sats: int,
        *,
        headers: Headers = dict,
        on_invoice: Callable[[str], object] = lambda _payment_hash: None,
    ) -> str:
        """Have what is owed paid to the wallet; return the payment hash. The same invoice is sent until its payment has ended."""
        made = self._invoice(sats)
        on_invoice(made["payment_hash"])

        def is_paid() -> bool:
            nonlocal made
            answer = self._api.post(path, json={"invoice": made["payment_request"]}, headers=headers())
            if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and answer.json()["code"] == "payment_failed":
                made = self._invoice(sats)
                return False
            assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
            assert answer.json()["refundAmountSats"] == sats
            return bool(answer.json()["ok"])

        self.until(is_paid, what="a payment of what is owed")
        self.paid_to_me[made["payment_hash"]] = sats
        return made["payment_hash"]

    def _invoice(self, sats: int) -> dict[str, str]:
        def make() -> dict[str, str]:
            with self._wallet() as wallet:
                return wallet.invoice(sats)

        return self.until(make, what="an invoice of the wallet")

    @contextmanager
    def _wallet(self) -> Iterator[Wallet]:
        with closing(Wallet(self._endpoints["wallet"])) as wallet:
            yield wallet
