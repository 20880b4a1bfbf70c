"""Who pays when it goes wrong: the published table, each cell in words and in codes. `GET /v1/pricing/settlement` serves it.

Inference, verification and plans are sibling rooms: their states stand here as text, and tests hold them against their enums.

The tests produce every cell and hold ledger, answer and receipt to its codes; a cell that no test produces fails them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.agent.model import JobState
from shared.agent.sessions.model import RequestState, SessionState


class Situation(StrEnum):
    """What happens."""

    REQUEST_INVALID = "request_invalid"
    EVALUATION_REFUSES = "evaluation_refuses"
    EVALUATION_FAILS = "evaluation_fails"
    FIRST_INVOICE_EXPIRES = "first_invoice_expires"
    LATER_INVOICE_EXPIRES = "later_invoice_expires"
    PAID_LATE = "paid_late"
    OVERPAID = "overpaid"
    WORK_FAILS = "work_fails"
    COSTS_LESS = "costs_less"
    COSTS_MORE = "costs_more"
    CALLER_LEAVES = "caller_leaves"
    WORKER_DIES = "worker_dies"
    WORKER_DIES_MID_STREAM = "worker_dies_mid_stream"
    CALLER_CANCELS = "caller_cancels"
    NO_PRICE = "no_price"
    PAYOUT_UNKNOWN = "payout_unknown"


class Charged(StrEnum):
    """What the operator keeps of it."""

    NOTHING = "nothing"
    EVALUATION_FEE = "evaluation_fee"
    EVALUATION_FEE_AND_ACTUAL_COST = "evaluation_fee_and_actual_cost"
    EVALUATION_FEE_AND_WORK_PAYMENT = "evaluation_fee_and_work_payment"
    EVALUATION_COST = "evaluation_cost"
    ACTUAL_COST = "actual_cost"
    RESERVATION = "reservation"
    PLAN_PRICE = "plan_price"


class OwedBack(StrEnum):
    """What the caller gets back: a debt to claim, or a balance to use or withdraw."""

    NOTHING = "nothing"
    EVALUATION_FEE = "evaluation_fee"
    WORK_PAYMENT = "work_payment"
    WHOLE_PAYMENT = "whole_payment"
    DIFFERENCE = "difference"
    DEBT_STAYS = "debt_stays"
    BALANCE = "balance"


class Counted(StrEnum):
    """What the usage row of a run counts, and so its receipt. A run is not paid for by itself: tokens are what it is billed by."""

    NOTHING = "nothing"
    """There is no row."""
    NO_TOKENS = "no_tokens"
    WHAT_WAS_GENERATED = "what_was_generated"
    THE_ANSWER = "the_answer"


class Unit(StrEnum):
    """What becomes of the verification that a run takes from its tenant's month."""

    NOT_TAKEN = "not_taken"
    KEPT = "kept"
    GIVEN_BACK = "given_back"


NOT_CREATED = "not_created"


@dataclass(frozen=True)
class Cell:
    """One outcome. `ends_as`: the state that the answer shows, or `not_created`."""

    ends_as: str
    charged: Charged
    owed_back: OwedBack
    text: str


@dataclass(frozen=True)
class RunCell:
    """One outcome of an inference run. `ends_as`: its state, or `not_created`; `outcome`: what the usage row says, where there is one."""

    ends_as: str
    outcome: str | None
    counted: Counted
    text: str


@dataclass(frozen=True)
class UnitCell:
    """One outcome of a verification. `ends_as`: its state, or `not_created`."""

    ends_as: str
    unit: Unit
    text: str


@dataclass(frozen=True)
class TableRow:
    """One situation, for each kind of owner; None where it cannot come about.

    A job; a request that a session's balance pays for; an inference run; a verification, forward or reverse; a plan that is bought.
    """

    situation: Situation
    text: str
    job: Cell | None = None
    session_request: Cell | None = None
    inference: RunCell | None = None
    verification: UnitCell | None = None
    plan: Cell | None = None


def _job(state: JobState, charged: Charged, owed_back: OwedBack, text: str) -> Cell:
    return Cell(state, charged, owed_back, text)


def _request(state: RequestState, charged: Charged, text: str) -> Cell:
    """The rest of what a session has stays its balance, whatever becomes of one request."""
    return Cell(state, charged, OwedBack.BALANCE, text)


TABLE: tuple[TableRow, ...] = (
    TableRow(
        Situation.REQUEST_INVALID,
        "The request is empty, above the character limit or malformed.",
        Cell(NOT_CREATED, Charged.NOTHING, OwedBack.NOTHING, "400 says what is wrong. Nothing is created."),
        Cell(
            NOT_CREATED, Charged.NOTHING, OwedBack.BALANCE, "400 says what is wrong. Nothing is set aside or debited."
        ),
        RunCell(
            NOT_CREATED,
            None,
            Counted.NOTHING,
            "400, 404 or 422 says what is wrong, before anything is asked of a model. There is no run, no usage and no receipt.",
        ),
        UnitCell(NOT_CREATED, Unit.NOT_TAKEN, "400 says what is wrong. There is no run, and no verification is taken."),
        Cell(
            NOT_CREATED, Charged.NOTHING, OwedBack.NOTHING, "403, 404 or 409 says what is wrong. There is no invoice."
        ),
    ),
    TableRow(
        Situation.EVALUATION_REFUSES,
        "The evaluation refuses the request.",
        _job(
            JobState.REJECTED,
            Charged.EVALUATION_FEE,
            OwedBack.NOTHING,
            "The evaluation fee is kept: the judgement was made. Of a job paid in one payment (L402), the rest is owed back.",
        ),
        _request(RequestState.REJECTED, Charged.EVALUATION_COST, "Only what the evaluation cost is debited."),
    ),
    TableRow(
        Situation.EVALUATION_FAILS,
        "The evaluation fails: an error of the model, a deadline, an unreadable judgement, after every retry.",
        _job(JobState.FAILED, Charged.NOTHING, OwedBack.EVALUATION_FEE, "The evaluation fee is owed back."),
        _request(RequestState.FAILED, Charged.NOTHING, "Nothing is debited."),
    ),
    TableRow(
        Situation.FIRST_INVOICE_EXPIRES,
        "The first invoice expires unpaid: a job's for the evaluation, a session's for the deposit.",
        _job(JobState.FAILED, Charged.NOTHING, OwedBack.NOTHING, "The job fails. Nothing was paid, nothing is owed."),
        Cell(
            SessionState.EXPIRED,
            Charged.NOTHING,
            OwedBack.NOTHING,
            "The session expires. Nothing was paid, nothing is owed.",
        ),
        plan=Cell(
            "expired", Charged.NOTHING, OwedBack.NOTHING, "Nothing is bought. Nothing was paid, nothing is owed."
        ),
    ),
    TableRow(
        Situation.LATER_INVOICE_EXPIRES,
        "A later invoice expires unpaid: a job's for the work, a session's for a top-up.",
        _job(
            JobState.FAILED,
            Charged.EVALUATION_FEE,
            OwedBack.NOTHING,
            "The job fails. The evaluation fee is kept: the evaluation was done, and the work was offered.",
        ),
        Cell(
            SessionState.ACTIVE,
            Charged.NOTHING,
            OwedBack.BALANCE,
            "The session goes on. Another top-up may be asked for.",
        ),
    ),
    TableRow(
        Situation.PAID_LATE,
        "A payment arrives after its invoice expired.",
        _job(
            JobState.FAILED,
            Charged.NOTHING,
            OwedBack.WHOLE_PAYMENT,
            "The job stays failed. The payment is owed back whole.",
        ),
        Cell(
            SessionState.ACTIVE,
            Charged.NOTHING,
            OwedBack.BALANCE,
            "Credited to the session whole; a deposit still activates it. Of a session that is over, it can be withdrawn.",
        ),
        plan=Cell(
            "paid",
            Charged.PLAN_PRICE,
            OwedBack.NOTHING,
            "It buys the plan all the same, for thirty days from its arrival.",
        ),
    ),
    TableRow(
        Situation.OVERPAID,
        "More is paid than the invoice asks for.",
        _job(
            JobState.COMPLETE,
            Charged.EVALUATION_FEE_AND_ACTUAL_COST,
            OwedBack.DIFFERENCE,
            "It counts as paid. What the work does not use is owed back, and so is what came above the evaluation fee.",
        ),
        Cell(SessionState.ACTIVE, Charged.NOTHING, OwedBack.BALANCE, "Credited to the session whole."),
        plan=Cell(
            "paid", Charged.PLAN_PRICE, OwedBack.DIFFERENCE, "It buys the plan. What came above the price is owed back."
        ),
    ),
    TableRow(
        Situation.WORK_FAILS,
        "The work fails after every retry.",
        _job(
            JobState.FAILED,
            Charged.EVALUATION_FEE,
            OwedBack.WORK_PAYMENT,
            "What was paid for the work is owed back whole. The evaluation fee is kept.",
        ),
        _request(RequestState.FAILED, Charged.NOTHING, "Nothing is debited, not even the evaluation."),
        RunCell(
            "failed",
            "failed",
            Counted.NO_TOKENS,
            "503 with the fault's code, or an error that ends the stream. No tokens are billed, also where some had been sent."
            " Where the policy's time ran out, the usage says timed_out.",
        ),
        UnitCell(
            "failed",
            Unit.GIVEN_BACK,
            "500 with the fault's code. The verification is given back to the month that it was taken from. Resuming takes one again.",
        ),
    ),
    TableRow(
        Situation.COSTS_LESS,
        "The work costs less than was paid or set aside.",
        _job(
            JobState.COMPLETE,
            Charged.EVALUATION_FEE_AND_ACTUAL_COST,
            OwedBack.DIFFERENCE,
            "The actual cost is kept, at the price locked on the invoice. The difference is owed back.",
        ),
        _request(RequestState.COMPLETE, Charged.ACTUAL_COST, "Only the actual cost of evaluation and work is debited."),
    ),
    TableRow(
        Situation.COSTS_MORE,
        "The work costs more than was paid or set aside.",
        _job(
            JobState.COMPLETE,
            Charged.EVALUATION_FEE_AND_WORK_PAYMENT,
            OwedBack.NOTHING,
            "The operator bears the excess. The job is done; nothing more is asked for.",
        ),
        _request(
            RequestState.COMPLETE, Charged.RESERVATION, "Debited is what was set aside; the operator bears the excess."
        ),
    ),
    TableRow(
        Situation.CALLER_LEAVES,
        "The caller disconnects while the work is under way.",
        _job(
            JobState.COMPLETE,
            Charged.EVALUATION_FEE_AND_ACTUAL_COST,
            OwedBack.DIFFERENCE,
            "The work goes on, and its result is kept for whoever has the job's id.",
        ),
        _request(
            RequestState.COMPLETE,
            Charged.ACTUAL_COST,
            "The work goes on and is debited. Its result is kept at the request's own address.",
        ),
        RunCell(
            "cancelled",
            "disconnected",
            Counted.WHAT_WAS_GENERATED,
            "The model is stopped once the caller has not come back for a few seconds. What was generated by then is counted, and the"
            " receipt says that the caller left. With an Idempotency-Key or respond-async the run goes on to its end.",
        ),
        UnitCell("complete", Unit.KEPT, "The run goes on to its end. Its result is kept at the run's own address."),
    ),
    TableRow(
        Situation.CALLER_CANCELS,
        "The caller cancels.",
        inference=RunCell(
            "cancelled",
            "cancelled",
            Counted.WHAT_WAS_GENERATED,
            "The model is stopped. What was generated by then is counted.",
        ),
        verification=UnitCell(
            "cancelled",
            Unit.KEPT,
            "The stage that runs is stopped. The verification is kept, and a receipt says how it ended.",
        ),
    ),
    TableRow(
        Situation.WORKER_DIES,
        "A worker dies while it works on it.",
        _job(
            JobState.COMPLETE,
            Charged.EVALUATION_FEE_AND_ACTUAL_COST,
            OwedBack.DIFFERENCE,
            "Another worker does it again, within a few attempts. It is charged once.",
        ),
        _request(
            RequestState.COMPLETE,
            Charged.ACTUAL_COST,
            "Another worker does it again, within a few attempts. It is debited once.",
        ),
        RunCell(
            "complete",
            "complete",
            Counted.THE_ANSWER,
            "Nothing of the answer had been sent: another worker does it again, within a few attempts. It is counted once.",
        ),
        UnitCell(
            "complete",
            Unit.KEPT,
            "Another worker does the stage again, within a few attempts; the others are not done again. One verification is taken.",
        ),
    ),
    TableRow(
        Situation.WORKER_DIES_MID_STREAM,
        "A worker dies while it streams an answer.",
        inference=RunCell(
            "failed",
            "failed",
            Counted.NO_TOKENS,
            "The stream ends in an error, INTERRUPTED: a second answer must not follow what the caller holds of the first."
            " No tokens are billed.",
        ),
    ),
    TableRow(
        Situation.NO_PRICE,
        "Too few price feeds agree on what a bitcoin costs.",
        _job(
            JobState.FAILED,
            Charged.NOTHING,
            OwedBack.EVALUATION_FEE,
            "The job waits for a price, for a limited time; then it fails, and the evaluation fee is owed back.",
        ),
        Cell(
            NOT_CREATED,
            Charged.NOTHING,
            OwedBack.BALANCE,
            "500 with Retry-After, before anything is set aside or debited.",
        ),
        plan=Cell(NOT_CREATED, Charged.NOTHING, OwedBack.NOTHING, "500 with Retry-After. There is no invoice."),
    ),
    TableRow(
        Situation.PAYOUT_UNKNOWN,
        "Nobody knows yet whether a refund or a withdrawal has arrived.",
        _job(
            JobState.COMPLETE,
            Charged.EVALUATION_FEE_AND_ACTUAL_COST,
            OwedBack.DEBT_STAYS,
            "The refund stays pending until the node answers for this very payment. No other invoice is paid meanwhile.",
        ),
        Cell(
            SessionState.EXPIRED,
            Charged.NOTHING,
            OwedBack.DEBT_STAYS,
            "The withdrawal stays pending until the node answers for this very payment. No other invoice is paid meanwhile.",
        ),
    ),
)

NOTES = (
    "A run of the gateway is counted in tokens, not charged by itself: one usage row and one receipt for every run, however it ended.",
    "A verification is one of the calendar month's (UTC), forward or reverse. It is taken when the run is made.",
    "A plan is bought for thirty days, which begin when its payment arrives or where an equal or better plan ends.",
    "What is left of a lesser plan waits while a better one lasts.",
    "Amounts are whole sats; a charge is rounded up to the next sat, and a refund is what was paid less the charge.",
    "The price of a bitcoin is locked on the work invoice, and on a session's request when it is accepted.",
    "A refund or withdrawal is claimed with a BOLT11 invoice for just what is owed. The operator pays the routing fees.",
    "Nothing is forfeited: what an idle session has left when it expires stays owed.",
)
