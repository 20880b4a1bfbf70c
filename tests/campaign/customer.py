"""A customer who buys jobs, at any number of faults, and has paid back what they did not cost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.campaign.patient import Patient
from tests.e2e.market import ENDED

REQUEST = "Say something short."


class Customer(Patient):
    """Buys jobs of one running stack."""

    def __init__(self, endpoints: Mapping[str, Any], *, patience_s: float = 90.0) -> None:
        super().__init__(endpoints, patience_s=patience_s)
        self.refused = 0
        """How many creations got an error: nothing was accepted then."""

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

        return self.until(create, what="a job that is accepted")

    def ask_once(self, *, key: str | None = None) -> httpx.Response:
        """Send one POST, whatever comes of it. Raises `httpx.HTTPError` where nobody answers."""
        headers = {"Idempotency-Key": key} if key else {}
        request = {"request": f"{REQUEST} ({key or uuid.uuid4().hex})"}
        return self._api.post("/api/jobs", json=request, headers=headers)

    def finish(self, created: Mapping[str, Any]) -> dict[str, Any]:
        """Pay an accepted job's two invoices, as long as it has not ended, and wait for its end; return it as the API shows it."""
        job_id = created["jobId"]
        self._pay_for(job_id, created["evalInvoice"]["paymentRequest"])
        shown = self.reach(job_id, "awaiting_work_payment", *ENDED)
        if shown["state"] == "awaiting_work_payment":
            self._pay_for(job_id, shown["workInvoice"]["paymentRequest"])
            shown = self.reach(job_id, *ENDED)
        return shown

    def claim(self, shown: Mapping[str, Any], *, on_invoice: Callable[[str], object] = lambda _hash: None) -> None:
        """Have paid back what an ended job is owed. `on_invoice` learns the payment hash first."""
        sats = int(shown.get("costLedger", {}).get("refundAmountSats", 0))
        if sats:
            self.take(f"/api/jobs/{shown['jobId']}/refund", sats, on_invoice=on_invoice)

    def reach(self, job_id: str, *states: str) -> dict[str, Any]:
        """Look until the job is in one of `states`."""

        def look() -> dict[str, Any] | None:
            answer = self._api.get(f"/api/jobs/{job_id}")
            assert answer.status_code != httpx.codes.NOT_FOUND, "an accepted job is gone"
            assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
            shown: dict[str, Any] = answer.json()
            return shown if shown["state"] in states else None

        return self.until(look, what=f"job {job_id} that is {' or '.join(states)}")

    def try_for_free(self) -> None:
        """Have something done for nothing."""
        asked = {"request": f"{REQUEST} ({uuid.uuid4().hex})"}
        self.until(lambda: self._api.get("/api/demo", params=asked).is_success, what="a free answer")

    def _pay_for(self, job_id: str, payment_request: str) -> None:
        """Pay an invoice; not where the job ended for want of time."""
        self.pay(payment_request, is_over=lambda: self._api.get(f"/api/jobs/{job_id}").json()["state"] in ENDED)
