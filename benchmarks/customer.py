"""A customer of the running stack: creates a job over HTTP, pays from the sandbox wallet, and learns of moves without asking."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.ground import Ground

REQUEST = "Say something short."
ENDED = ("rejected", "complete", "failed")
PATIENCE_S = 60.0
_LOOK_AGAIN_S = 1.0


class WentWrong(RuntimeError):
    """Something that a benchmark takes for granted did not happen: its figures would mean nothing."""


@dataclass(frozen=True)
class Payment:
    """Two moments of one payment in Unix seconds: the node settled it; the wallet's call returned with success."""

    settled_at: float
    returned_at: float


@dataclass(frozen=True)
class Created:
    """A job at its customer's: its row, and what to pay first."""

    row_id: int
    public_id: str
    payment_request: str


class Payer:
    """The sandbox wallet over its REST API. One thread's own."""

    def __init__(self, ground: Ground) -> None:
        node = ground.wallet
        self._clock = ground.clock
        self._http = httpx.Client(
            base_url=node["rest"],
            verify=ssl.create_default_context(cafile=node["tls_cert"]),
            headers={"Grpc-Metadata-macaroon": node["macaroon"]},
            timeout=PATIENCE_S,
            trust_env=False,
        )

    def pay(self, payment_request: str) -> Payment:
        """Pay. Raises `WentWrong` where the payment does not succeed."""
        body = {"payment_request": payment_request, "timeout_seconds": 60, "fee_limit_sat": "100"}
        answer = self._http.post("/v2/router/send", json=body)
        returned_at = self._clock.now().timestamp()
        payment = json.loads(answer.text.strip().splitlines()[-1]).get("result", {})
        if payment.get("status") != "SUCCEEDED":
            raise WentWrong(f"a payment failed: {answer.text[:200]}")
        return Payment(int(payment["htlcs"][-1]["resolve_time_ns"]) / 1e9, returned_at)

    def invoice(self, sats: int) -> str:
        """Return a payment request of the wallet for so many sats."""
        answer = self._http.post("/v1/invoices", json={"value": str(sats), "memo": "bench"})
        if not answer.is_success:
            raise WentWrong(f"the wallet made no invoice: {answer.text[:200]}")
        return str(answer.json()["payment_request"])

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class Customer:
    """One thread's customer, with connections of its own. A context manager."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._api = httpx.Client(base_url=ground.web, timeout=PATIENCE_S, trust_env=False)
        self._rows = ground.connect()
        self.payer = Payer(ground)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()
        self._rows.close()
        self.payer.close()

    def create(self, request: str = REQUEST) -> Created:
        """Create a job."""
        answer = self._api.post("/api/jobs", json={"request": request})
        if answer.status_code != httpx.codes.CREATED:
            raise WentWrong(f"a job could not be created: {answer.text[:200]}")
        body = answer.json()
        row = self._row("SELECT id FROM jobs WHERE public_id = %(id)s", id=body["jobId"])
        return Created(row["id"], body["jobId"], body["evalInvoice"]["paymentRequest"])

    def work_request(self, job: Created) -> str:
        """Return the work invoice's payment request from its row: a GET would nudge the service."""
        query = (
            "SELECT payment_request FROM invoices WHERE owner_kind = 'job' AND owner_id = %(id)s AND purpose = 'work'"
        )
        return str(self._row(query, id=job.row_id)["payment_request"])

    def await_state(self, job: Created, state: str, arrivals: SimpleQueue[float]) -> None:
        """Return once the job is in `state`. Raises `WentWrong` where it ends otherwise, or takes too long."""
        deadline = self._ground.clock.monotonic() + PATIENCE_S
        while (found := self.state(job)) != state:
            if found in ENDED or self._ground.clock.monotonic() > deadline:
                raise WentWrong(f"job {job.row_id} is {found}, not {state}")
            hear(arrivals)

    def state(self, job: Created) -> str:
        """Return the job's state, read from its row."""
        return str(self._row("SELECT state FROM jobs WHERE id = %(id)s", id=job.row_id)["state"])

    def buy(self) -> Created:
        """Buy one job from its creation to its result; return it."""
        job = self.create()
        with self._ground.announcements.of_job(job.row_id) as arrivals:
            self.payer.pay(job.payment_request)
            self.await_state(job, "awaiting_work_payment", arrivals)
            self.payer.pay(self.work_request(job))
            self.await_state(job, "complete", arrivals)
        return job

    def _row(self, sql: str, **parameters: Any) -> dict[str, Any]:
        found = self._rows.execute(sql.encode(), parameters).fetchone()
        if found is None:
            raise WentWrong("a row that must exist does not")
        return found


def hear(arrivals: SimpleQueue[float]) -> float | None:
    """Return when the next announcement arrived; None where none came for a second."""
    try:
        return arrivals.get(timeout=_LOOK_AGAIN_S)
    except Empty:
        return None
