"""A customer who does not give up: whatever breaks, he asks again, pays what he accepted, and wants his result."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from cli.sandbox import Wallet
from tests.e2e.market import ENDED

Found = TypeVar("Found")

REQUEST = "Say something short."
PAID_BEFORE = "already paid"
_PAUSE_S = 0.25
_BROKEN = (httpx.HTTPError, RuntimeError, json.JSONDecodeError, IndexError, AssertionError)


class OutOfPatience(AssertionError):
    """Something did not come about in time; the last thing that went wrong is its text."""


class Customer:
    """Buys jobs of one running stack, at any number of stacks' faults. Not for several threads at once."""

    def __init__(self, endpoints: Mapping[str, Any], *, patience_s: float = 90.0) -> None:
        self._api = httpx.Client(
            base_url=endpoints["web"],
            timeout=20,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # web dies and comes back between two calls
        )
        self._endpoints = endpoints
        self._patience_s = patience_s
        self.refused = 0
        """How many creations got an error: nothing was accepted then."""

    def close(self) -> None:
        """Close his connection."""
        self._api.close()

    def order(self, *, key: str | None = None, on_conflict: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Create a job, again and again until one is accepted; return the answer. `key`: the Idempotency-Key of every try."""

        def create() -> dict[str, Any] | None:
            answer = self.ask_once(key=key)
            if answer.status_code == httpx.codes.CREATED:
                return dict(answer.json())
            self.refused += 1
            if answer.status_code == httpx.codes.CONFLICT:
                on_conflict()
                return None
            assert answer.status_code in {429, 500, 503}, f"{answer.status_code} {answer.text}"
            return None

        return self._until(create, what="a job that is accepted")

    def ask_once(self, *, key: str | None = None) -> httpx.Response:
        """Send one POST, whatever comes of it. Raises `httpx.HTTPError` where nobody answers."""
        headers = {"Idempotency-Key": key} if key else {}
        request = {"request": f"{REQUEST} ({key or uuid.uuid4().hex})"}
        return self._api.post("/api/jobs", json=request, headers=headers)

    def finish(self, created: Mapping[str, Any]) -> dict[str, Any]:
        """Pay an accepted job's two invoices and wait for its end; return it as the API shows it."""
        job_id = created["jobId"]
        self.pay(created["evalInvoice"]["paymentRequest"])
        shown = self.reach(job_id, "awaiting_work_payment", *ENDED)
        if shown["state"] == "awaiting_work_payment":
            self.pay(shown["workInvoice"]["paymentRequest"])
            shown = self.reach(job_id, *ENDED)
        return shown

    def reach(self, job_id: str, *states: str) -> dict[str, Any]:
        """Look until the job is in one of `states`."""

        def look() -> dict[str, Any] | None:
            answer = self._api.get(f"/api/jobs/{job_id}")
            assert answer.status_code != httpx.codes.NOT_FOUND, "an accepted job is gone"
            assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
            shown: dict[str, Any] = answer.json()
            return shown if shown["state"] in states else None

        return self._until(look, what=f"job {job_id} that is {' or '.join(states)}")

    def pay(self, payment_request: str) -> None:
        """Pay an invoice once, however often the wallet has to be asked."""

        def pay_once() -> bool:
            wallet = Wallet(self._endpoints["wallet"])
            try:
                wallet.pay(payment_request)
            except RuntimeError as error:
                if PAID_BEFORE not in str(error):
                    raise
            finally:
                wallet._http.close()
            return True

        self._until(pay_once, what="a payment")

    def _until(self, attempt: Callable[[], Found | None], *, what: str) -> Found:
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
