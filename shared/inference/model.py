"""An inference run: what was asked, where it may run, what came of it. Every end leaves one receipt and one usage row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.kernel.errors import Unprocessable
from shared.kernel.owner import Owner

RUN = "run"
RUN_PREFIX = "run"
MOST_LISTED = 100


class RunState(StrEnum):
    """Where a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunEvent(StrEnum):
    """What happens to a run."""

    STARTED = "started"
    RESTARTED = "restarted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUN_TRANSITIONS = {
    (RunState.QUEUED, RunEvent.STARTED): RunState.RUNNING,
    (RunState.RUNNING, RunEvent.RESTARTED): RunState.RUNNING,
    (RunState.RUNNING, RunEvent.COMPLETED): RunState.COMPLETE,
    (RunState.QUEUED, RunEvent.FAILED): RunState.FAILED,
    (RunState.RUNNING, RunEvent.FAILED): RunState.FAILED,
    (RunState.QUEUED, RunEvent.CANCELLED): RunState.CANCELLED,
    (RunState.RUNNING, RunEvent.CANCELLED): RunState.CANCELLED,
}
RUN_ENDED = frozenset({RunState.COMPLETE, RunState.FAILED, RunState.CANCELLED})


class RunStep(StrEnum):
    """The steps of a run."""

    INFER = "infer"


class Surface(StrEnum):
    """Which route a run came by, and so how its answer is written."""

    INFERENCE = "inference"
    CHAT = "chat"


ROUTES = {Surface.INFERENCE: "/v1/run/inference", Surface.CHAT: "/v1/chat/completions"}


class CancelReason(StrEnum):
    """Why a run was cancelled: its caller said so, or left and did not come back."""

    CANCELLED = "cancelled"
    DISCONNECTED = "disconnected"


class ErrorCode(StrEnum):
    """Why a run failed: the gateway contract's `error_code`, and two of ours."""

    TIMEOUT = "TIMEOUT"
    CONNECTION = "CONNECTION"
    RATE_LIMIT = "RATE_LIMIT"
    AUTH = "AUTH"
    INVALID_RESPONSE = "INVALID_RESPONSE"
    PROVIDER_ERROR = "PROVIDER_ERROR"
    UNKNOWN = "UNKNOWN"
    INTERRUPTED = "INTERRUPTED"
    """Ours: the process that generated it ended, and a second generation must not follow what a caller may hold."""
    REDACTION_FAILED = "REDACTION_FAILED"
    """Ours: what the policy has redacted could not be, so nothing more leaves."""


class NotAsked(Unprocessable):
    """What was asked for makes no sense, or no node could do it. `field` names the part."""

    code = "VALIDATION_ERROR"


@dataclass(frozen=True)
class Ask:
    """A request as its door read it.

    `messages` and `options` go upstream by their own names (`max_tokens`, `tools`, …; no `model`, `stream`, `stream_options`, `n`),
    after legacy function messages are put into tool form; both hold plain JSON values. `model`: a passport id, `passport:<id>` or a
    name. `policy`: as supplied, None where absent. `request_id`: None has it be the run's id. `detached`: nobody waits at a
    connection, so nobody's leaving ends it. `include_usage`: of a chat stream.
    """

    surface: Surface
    model: str
    messages: Sequence[Mapping[str, Any]] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    stream: bool = False
    include_usage: bool = False
    detached: bool = False
    policy: object = None
    compute_passport_id: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    project: str | None = None


@dataclass(frozen=True)
class PlannedNode:
    """One node that may do a run. `model`: what its endpoint calls the model; `is_ours`: the operator's, not a tenant's."""

    passport_id: str
    endpoint: str = field(repr=False)
    runtime: str
    model: str
    is_ours: bool = False


@dataclass(frozen=True)
class Plan:
    """Where a run may go, best first: the chosen node and what it may fall back on. What the policy has us do on the way."""

    nodes: tuple[PlannedNode, ...]
    redact_pii: bool = False
    include_usage: bool = False

    def node(self, passport_id: str | None) -> PlannedNode:
        """Return the node of that passport; the chosen one where it is not named, or not in the plan."""
        return next((node for node in self.nodes if node.passport_id == passport_id), self.nodes[0])


@dataclass(frozen=True)
class Run:
    """One run row, without what was asked and without its answer."""

    id: int
    run_id: str
    tenant: str
    mode: str
    surface: Surface
    state: RunState
    streamed: bool
    detached: bool
    plan: Plan
    policy_hash: bytes
    model_passport_id: str
    model_requested: str
    request_id: str
    trace_id: str | None
    project: str | None
    input_salt: bytes = field(repr=False)
    input_commitment: bytes
    deadline_at: datetime | None
    cancel_reason: CancelReason | None
    streaming_since: datetime | None
    created_at: datetime
    compute_passport_id: str | None = None
    """The node that did it, or is at it: known once it streams, or has ended."""
    forgotten_at: datetime | None = None
    """Since when nothing is kept of what was asked and answered, nor of the salts."""

    @property
    def owner(self) -> Owner:
        """The run as the owner of rows elsewhere."""
        return Owner(RUN, self.id)

    @property
    def has_ended(self) -> bool:
        """True once nothing changes any more."""
        return self.state in RUN_ENDED


@dataclass(frozen=True)
class Reply:
    """What the model answered. Lists and objects are OpenAI's own, as the upstream sent them, put together."""

    text: str = field(default="", repr=False)
    tool_calls: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    refusal: str | None = field(default=None, repr=False)
    logprobs: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class RunEnd:
    """How a run ended. Times in milliseconds since it was accepted; a failed run is billed no tokens.

    `reply`: the answer of a complete run, what had come of a cancelled one, None of a failed one. `compute_passport_id`: the node that
    did it, or was to. `tokens_reported`: the counts are the upstream's own, else our estimate.
    """

    finish_reason: str
    reply: Reply | None
    compute_passport_id: str
    runtime: str
    model_answered: str
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_reported: bool = False
    ttft_ms: int = 0
    total_latency_ms: int = 0
    used_fallback: bool = False
    fallback_reason: str | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class RunView:
    """A run as its owner sees it. `end` is None while it lasts; then its receipt has the run's own id.

    `salts` open the receipt's commitments, by the names `input` and `output`; only `Runs.get` reads them.
    """

    run: Run
    end: RunEnd | None = None
    salts: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def receipt_id(self) -> str | None:
        """Return the id of the receipt that the end left."""
        return self.run.run_id if self.end is not None else None


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream, exactly as it goes over the wire. `seq` counts from 1 without gaps.

    `is_last`: nothing follows. `is_fault`: it says that the run failed or was cancelled, and nothing follows.
    """

    seq: int
    wire: bytes = field(repr=False)
    is_last: bool = False
    is_fault: bool = False


@dataclass(frozen=True)
class Moved:
    """One move of a run, for those who watch its states. `seq` counts from 1 without gaps."""

    seq: int
    event: str
    state: RunState
    at: datetime
