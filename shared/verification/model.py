"""A verification: what was submitted, how far it has come, what came of it. One that is complete or cancelled leaves one receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.kernel.owner import Owner
from shared.verification.items import (
    Attempt,
    Claim,
    Constraint,
    Remediation,
    Specification,
    Submitted,
    Task,
    Verdict,
)
from shared.verification.tools import FaultCode

VERIFICATION_PREFIX = "req"
MOST_LISTED = 100


class Pipeline(StrEnum):
    """Which of the two it is. Also the kind of owner as which steps, events and receipts know a verification."""

    FORWARD = "forward"
    REVERSE = "reverse"


class Stage(StrEnum):
    """The stages; each is a step."""

    EXTRACT = "extract"
    VERIFY = "verify"
    REMEDIATE = "remediate"
    SPECIFY = "specify"
    CONSTRAIN = "constrain"
    GENERATE = "generate"
    REPAIR = "repair"


STAGES: Mapping[Pipeline, tuple[Stage, ...]] = {
    Pipeline.FORWARD: (Stage.EXTRACT, Stage.VERIFY, Stage.REMEDIATE),
    Pipeline.REVERSE: (Stage.SPECIFY, Stage.CONSTRAIN, Stage.GENERATE, Stage.VERIFY, Stage.REPAIR),
}
"""In their order."""


class VerificationState(StrEnum):
    """Where a verification is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class VerificationEvent(StrEnum):
    """What happens to a verification."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RESUMED = "resumed"


VERIFICATION_TRANSITIONS = {
    (VerificationState.QUEUED, VerificationEvent.STARTED): VerificationState.RUNNING,
    (VerificationState.RUNNING, VerificationEvent.COMPLETED): VerificationState.COMPLETE,
    (VerificationState.QUEUED, VerificationEvent.FAILED): VerificationState.FAILED,
    (VerificationState.RUNNING, VerificationEvent.FAILED): VerificationState.FAILED,
    (VerificationState.QUEUED, VerificationEvent.CANCELLED): VerificationState.CANCELLED,
    (VerificationState.RUNNING, VerificationEvent.CANCELLED): VerificationState.CANCELLED,
    (VerificationState.FAILED, VerificationEvent.RESUMED): VerificationState.QUEUED,
}
VERIFICATION_ENDED = frozenset({VerificationState.COMPLETE, VerificationState.FAILED, VerificationState.CANCELLED})
"""Nothing works on it. What failed can be resumed; what is complete or cancelled stays so."""


class StageState(StrEnum):
    """Where one attempt at a stage is. `INTERRUPTED`: its process ended, or was told to; `ABANDONED`: the verification ended."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"


@dataclass(frozen=True)
class Verification:
    """One verification's row, without what was submitted and without what came of it.

    `stage`: the one that is next, or at work; where it failed or was cancelled, the one at which it did. Just one of `salts` opens
    each commitment. `round`: how often it was resumed.
    """

    id: int
    request_id: str
    pipeline: Pipeline
    tenant: str
    mode: str
    language: str
    state: VerificationState
    stage: Stage
    round: int
    unit: int | None
    model: str
    is_cancel_asked: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    is_erased: bool
    fault_code: FaultCode | None = None
    fault_message: str | None = None

    @property
    def owner(self) -> Owner:
        """The verification as the owner of rows elsewhere."""
        return Owner(self.pipeline, self.id)

    @property
    def has_ended(self) -> bool:
        """True once nothing works on it."""
        return self.state in VERIFICATION_ENDED

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that it goes through."""
        return STAGES[self.pipeline]


@dataclass(frozen=True)
class Tally:
    """What asking the model has taken. `cost_microusd`: by the prices of the settings, rounded up."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_microusd: int = 0


@dataclass(frozen=True)
class StageRow:
    """One attempt at a stage. `attempt` counts from 1 for each stage. `model`: as the upstream names what answered last."""

    stage: Stage
    attempt: int
    state: StageState
    input_hash: bytes
    tally: Tally
    duration_ms: int | None
    model: str | None
    fault: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class ForwardResult:
    """What came of verifying code, as far as it has come. None: that stage is not done."""

    claims: tuple[Claim, ...] | None = None
    verdicts: tuple[Verdict, ...] | None = None
    remediations: tuple[Remediation, ...] | None = None


@dataclass(frozen=True)
class ReverseResult:
    """What came of generating code, as far as it has come. None: that stage is not done."""

    specifications: tuple[Specification, ...] | None = None
    constraints: tuple[Constraint, ...] | None = None
    attempts: tuple[Attempt, ...] | None = None

    @property
    def chosen(self) -> Attempt | None:
        """The attempt that is the answer."""
        return next((attempt for attempt in self.attempts or () if attempt.chosen), None)


@dataclass(frozen=True)
class VerificationView:
    """A verification as its owner sees it.

    `submitted` (forward) or `task` (reverse), and what came of it, are None where they were deleted by age. `usage`: what its
    finished stages took. Only `Verifications.get` and `wait` read `stage_rows`, `result` and `salts`, which open the receipt's commitments.
    """

    verification: Verification
    usage: Tally
    submitted: Submitted | None = None
    task: Task | None = None
    forward: ForwardResult | None = None
    reverse: ReverseResult | None = None
    stage_rows: tuple[StageRow, ...] = ()
    receipt_id: str | None = None
    salts: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Progress:
    """One thing that happened to a verification. `seq` counts from 1 without gaps.

    `name`: a `VerificationEvent`, `created`, `stage_started` or `stage_done`. `state`: where it led, None where it moved nothing.
    `facts`: for stages their name, attempt and counts.
    """

    seq: int
    name: str
    state: VerificationState | None
    at: datetime
    facts: Mapping[str, Any]
