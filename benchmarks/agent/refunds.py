"""How soon a refund is paid: from the claim to the answer that says so, one after the other, for jobs whose evaluation failed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
from psycopg.rows import DictRow

from benchmarks.crowd import at_once
from benchmarks.customer import Created, Customer, WentWrong
from benchmarks.effort import Effort
from benchmarks.figures import Figure, latency
from benchmarks.ground import Ground
from benchmarks.http_load import Answer, Line

FAILS = "Say something short. [sim:status:400]"
"""The simulated model answers this with an error that no retry mends, so the evaluation's fee is owed back."""
_BUYERS = 8
_ALONE = 30
_STAGES = """
SELECT extract(epoch FROM p.created_at)::float8 AS claimed_at, extract(epoch FROM s.started_at)::float8 AS begun_at,
       extract(epoch FROM p.sent_at)::float8 AS sent_at, extract(epoch FROM p.ended_at)::float8 AS booked_at
  FROM payouts AS p JOIN steps AS s ON s.owner_kind = 'payout' AND s.owner_id = p.id AND s.name = 'send'
 WHERE p.payment_hash = %(payment_hash)s AND p.state = 'paid'
"""


@dataclass(frozen=True)
class Refund:
    """One claim's answer, and the payout's moments in Unix seconds."""

    answer: Answer
    stages: dict[str, float]


@dataclass(frozen=True)
class Refunds:
    """What was found. `paid_s`: how long the wallet's own payments took, in seconds, one after the other."""

    refunds: list[Refund]
    paid_s: list[float]

    @property
    def took_s(self) -> list[float]:
        """From claim to paid answer."""
        return [refund.answer.took_s for refund in self.refunds]

    def figures(self) -> list[Figure]:
        """Return the absolute values."""
        return [
            latency("refund: claim → paid answer", self.took_s),
            latency("bare payment: the wallet pays an invoice, its own REST call", self.paid_s),
        ]

    def breakdown(self) -> list[Figure]:
        """Return the stages of a refund, from the rows' own times."""
        found = self.refunds
        return [
            latency(
                "refund: sent → claim begins",
                [r.stages["claimed_at"] - r.answer.sent_at for r in found],
            ),
            latency(
                "refund: claim (invoice read, commit) → relay → step begins", _between(found, "claimed_at", "begun_at")
            ),
            latency("refund: step begins (the node reads it) → handed over", _between(found, "begun_at", "sent_at")),
            latency("refund: handed over → paid by the node → booking begins", _between(found, "sent_at", "booked_at")),
            latency(
                "refund: booking (commit, announcement) → answered",
                [r.answer.sent_at + r.answer.took_s - r.stages["booked_at"] for r in found],
            ),
        ]


def measure(ground: Ground, effort: Effort) -> Refunds:
    """Make jobs that are owed their fee, then claim one after the other."""
    sats = ground.container.settings.eval_fee_sats
    owed, paid_s = _owed(ground, effort.refunds)
    with Customer(ground) as customer, Line(ground.web, timeout_s=60) as api, ground.connect() as rows:
        refunds = []
        for job in owed:
            invoice = customer.payer.invoice(sats)
            refunds.append(_claim(api, rows, job, invoice))
    return Refunds(refunds, paid_s)


def _owed(ground: Ground, count: int) -> tuple[list[Created], list[float]]:
    """Return jobs that have failed; the last ones are made one at a time, which says how long a payment takes alone."""
    jobs: list[Created] = []
    alone = min(count, _ALONE)
    with ExitStack() as opened:
        customers = [opened.enter_context(Customer(ground)) for _ in range(_BUYERS)]

        def buy(number: int, share: int) -> None:
            jobs.extend(_failed(ground, customers[number])[0] for _ in range(share))

        at_once(buy, count - alone, threads=_BUYERS)
        bought = [_failed(ground, customers[0]) for _ in range(alone)]
    return [*jobs, *(job for job, _ in bought)], [took_s for _, took_s in bought]


def _failed(ground: Ground, customer: Customer) -> tuple[Created, float]:
    job = customer.create(FAILS)
    with ground.announcements.of_job(job.row_id) as arrivals:
        began = ground.clock.monotonic()
        customer.payer.pay(job.payment_request)
        took_s = ground.clock.monotonic() - began
        customer.await_state(job, "failed", arrivals)
    return job, took_s


def _claim(api: Line, rows: psycopg.Connection[DictRow], job: Created, invoice: str) -> Refund:
    answer = api.post(f"/api/jobs/{job.public_id}/refund", {"invoice": invoice})
    if not answer.body["ok"]:
        raise WentWrong(f"the refund of job {job.row_id} was not paid in time")
    stages = rows.execute(_STAGES, {"payment_hash": bytes.fromhex(answer.body["paymentHash"])}).fetchone()
    if stages is None:
        raise WentWrong(f"the refund of job {job.row_id} has no payout that is paid")
    return Refund(answer, stages)


def _between(refunds: list[Refund], begins: str, ends: str) -> list[float]:
    return [refund.stages[ends] - refund.stages[begins] for refund in refunds]
