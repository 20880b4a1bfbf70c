"""Jobs: paid twice (to be judged, to be done) or in one payment for both, with one life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.kernel.owner import Owner
from shared.lightning.model import Payout, Price

JOB = "job"


class JobState(StrEnum):
    """Where a job is: the states of the paid-agent contract, no others."""

    AWAITING_EVAL_PAYMENT = "awaiting_eval_payment"
    EVALUATING = "evaluating"
    REJECTED = "rejected"
    AWAITING_WORK_PAYMENT = "awaiting_work_payment"
    EXECUTING = "executing"
    COMPLETE = "complete"
    FAILED = "failed"


class JobEvent(StrEnum):
    """What happens to a job."""

    EVAL_PAID = "eval paid"
    EVAL_EXPIRED = "eval expired"
    ABANDONED = "abandoned"
    ACCEPTED = "accepted"
    ACCEPTED_PREPAID = "accepted, prepaid"
    REFUSED = "refused"
    EVALUATION_FAILED = "evaluation failed"
    NOT_PRICED = "not priced"
    WORK_PAID = "work paid"
    WORK_EXPIRED = "work expired"
    DONE = "done"
    WORK_FAILED = "work failed"


JOB_TRANSITIONS = {
    (JobState.AWAITING_EVAL_PAYMENT, JobEvent.EVAL_PAID): JobState.EVALUATING,
    (JobState.AWAITING_EVAL_PAYMENT, JobEvent.EVAL_EXPIRED): JobState.FAILED,
    (JobState.AWAITING_EVAL_PAYMENT, JobEvent.ABANDONED): JobState.FAILED,
    (JobState.EVALUATING, JobEvent.ACCEPTED): JobState.AWAITING_WORK_PAYMENT,
    (JobState.EVALUATING, JobEvent.ACCEPTED_PREPAID): JobState.EXECUTING,
    (JobState.EVALUATING, JobEvent.REFUSED): JobState.REJECTED,
    (JobState.EVALUATING, JobEvent.EVALUATION_FAILED): JobState.FAILED,
    (JobState.EVALUATING, JobEvent.NOT_PRICED): JobState.FAILED,
    (JobState.AWAITING_WORK_PAYMENT, JobEvent.WORK_PAID): JobState.EXECUTING,
    (JobState.AWAITING_WORK_PAYMENT, JobEvent.WORK_EXPIRED): JobState.FAILED,
    (JobState.EXECUTING, JobEvent.DONE): JobState.COMPLETE,
    (JobState.EXECUTING, JobEvent.WORK_FAILED): JobState.FAILED,
}

ENDED = frozenset({JobState.REJECTED, JobState.COMPLETE, JobState.FAILED})


class JobStep(StrEnum):
    """The steps of a job; `workers/chains.py` says what follows what."""

    OPEN_EVAL_INVOICE = "open_eval_invoice"
    EVALUATE = "evaluate"
    OPEN_WORK_INVOICE = "open_work_invoice"
    EXECUTE = "execute"


class RefundState(StrEnum):
    """The contract's view of what a job is owed."""

    NOT_APPLICABLE = "not_applicable"
    PENDING = "pending"
    PAID = "paid"


@dataclass(frozen=True)
class Estimate:
    """What the work may cost at most. USD; `amount_msat` is whole sats."""

    cost_usd: Decimal
    margin_pct: Decimal
    btc_price_usd: Decimal
    amount_msat: int


@dataclass(frozen=True)
class Prepayment:
    """What a prepaid job is asked for besides the evaluation fee, and the price that is locked for it."""

    estimate: Estimate
    price: Price


@dataclass(frozen=True)
class Actual:
    """What the work did cost. `cost_usd` raw tokens, `charge_usd` with infrastructure and margin; `charged_msat` is whole sats."""

    tokens_in: int
    tokens_out: int
    cost_usd: Decimal
    charge_usd: Decimal
    charged_msat: int


@dataclass(frozen=True)
class Job:
    """One job row. Amounts in msat, USD as `Decimal`. `prepaid`: its first invoice pays for the work as well."""

    id: int
    public_id: str
    state: JobState
    request: str
    eval_amount_msat: int
    reason: str | None
    result: str | None
    error_message: str | None
    eval_tokens_in: int
    eval_tokens_out: int
    estimate: Estimate | None
    paid_work_msat: int | None
    actual: Actual | None
    prepaid: bool
    created_at: datetime
    ended_at: datetime | None

    @property
    def owner(self) -> Owner:
        """The job as the owner of rows elsewhere."""
        return Owner(JOB, self.id)


@dataclass(frozen=True)
class Invoiced:
    """An invoice as its payer sees it."""

    payment_request: str
    amount_sats: int
    expires_at: datetime


@dataclass(frozen=True)
class CostLedger:
    """The honest account of an ended job. Sats are whole; `refund_sats` is what is still owed or was paid back."""

    tokens_in: int
    tokens_out: int
    cost_usd: Decimal
    charge_usd: Decimal
    estimated_cost_usd: Decimal
    actual_sats: int
    work_sats: int
    refund_sats: int
    refund_state: RefundState
    margin_pct: Decimal | None
    btc_price_usd: Decimal | None


@dataclass(frozen=True)
class JobView:
    """Everything a caller may know of a job. `payout`: the latest payment of what it is owed."""

    job: Job
    eval_invoice: Invoiced | None
    work_invoice: Invoiced | None
    cost: CostLedger | None
    refund_sats: int
    payout: Payout | None
    receipt_id: str | None
