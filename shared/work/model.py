"""Steps: one row per (owner, step name). The machinery of work lives here; an owner's own state holds only its contract's states."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum

from shared.kernel.errors import LucidError

STRANDED = "giving up raised"  # in the fault of a quarantined step whose owner could not be given up either


class StepState(StrEnum):
    """Where a step is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class StepEvent(StrEnum):
    """What happens to a step."""

    CLAIMED = "claimed"
    RECLAIMED = "lease lapsed, claimed again"
    FINISHED = "finished"
    RETRIED = "retry later"
    RELEASED = "released at shutdown"
    GAVE_UP = "gave up"
    POISONED = "attempts exhausted by dead owners"
    RESTARTED = "asked for again"


STEP_TRANSITIONS = {
    (StepState.QUEUED, StepEvent.CLAIMED): StepState.RUNNING,
    (StepState.RUNNING, StepEvent.RECLAIMED): StepState.RUNNING,
    (StepState.RUNNING, StepEvent.FINISHED): StepState.DONE,
    (StepState.RUNNING, StepEvent.RETRIED): StepState.QUEUED,
    (StepState.RUNNING, StepEvent.RELEASED): StepState.QUEUED,
    (StepState.RUNNING, StepEvent.GAVE_UP): StepState.FAILED,
    (StepState.RUNNING, StepEvent.POISONED): StepState.QUARANTINED,
    (StepState.FAILED, StepEvent.RESTARTED): StepState.QUEUED,
    (StepState.QUARANTINED, StepEvent.RESTARTED): StepState.QUEUED,
}


class Outcome(StrEnum):
    """How one delivery of a step ended."""

    APPLIED = "applied"
    NOT_MINE = "not mine"
    LOST = "lost"
    RETRYING = "retrying"
    RELEASED = "released"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class StepRef:
    """Names one step: the owner's kind and internal row id, and the step's name."""

    owner_kind: str
    owner_id: int
    name: str


@dataclass(frozen=True)
class Claim:
    """The right to do a step, as long as `fence` is the row's. `age_s`: seconds since the step was queued.

    `lost` is set when a renewal found another owner.
    """

    id: int
    ref: StepRef
    fence: int
    attempts: int
    cid: str
    age_s: float
    lost: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True)
class Message:
    """One outbox row: ring `ref` (and what remains of its chain)."""

    id: int
    ref: StepRef
    cid: str


class StepInterrupted(LucidError):
    """Base of what an effect raises to end its attempt without a result."""


class RetryLater(StepInterrupted):
    """Try again in `delay_s` seconds. `counts=False`: waiting for an outside condition is not an attempt."""

    code = "retry_later"

    def __init__(self, message: str, *, delay_s: float, counts: bool = True) -> None:
        super().__init__(message)
        self.delay_s = delay_s
        self.counts = counts


class StepFailed(StepInterrupted):
    """The step can never succeed. `message` goes to the owner's row, so it is written for people."""

    code = "step_failed"


class ShuttingDown(StepInterrupted):
    """This process was told to stop: give the step back, somebody else goes on."""

    code = "shutting_down"


class LeaseLost(StepInterrupted):
    """Another process owns the step now: drop the result."""

    code = "lease_lost"
