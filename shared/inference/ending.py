"""How a run ends, whoever ends it: row, usage, history, frames and the one receipt, in one transaction.

A failed run bills no tokens; a cancelled one what was generated. The receipt says what the row says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.db.service import Tx
from shared.events.service import Events
from shared.inference import store
from shared.inference.frames import CANCELLED, StreamWriter
from shared.inference.model import (
    RUN_TRANSITIONS,
    CancelReason,
    ErrorCode,
    PlannedNode,
    Reply,
    Run,
    RunEnd,
    RunEvent,
    RunState,
)
from shared.inference.store import Locked
from shared.kernel.canonical_json import jcs
from shared.kernel.commitments import SALT_BYTES, commit_stream
from shared.kernel.errors import IntegrityFault
from shared.kernel.ids import Ids
from shared.kernel.transitions import next_state
from shared.receipts.model import Committed, Draft, Ran, ReceiptKind
from shared.receipts.service import Receipts

TIMED_OUT = "The run did not end in time."
INTERRUPTED = "The process that generated the answer ended before it was done, and a second one must not follow."
WAS_CANCELLED = "The run was cancelled."
_FAULT_REASONS = {ErrorCode.TIMEOUT: "timeout", ErrorCode.INTERRUPTED: "interrupted"}
_FAULT_REASON = "error"


@dataclass(frozen=True)
class Figures:
    """What is known of a run at its end, whatever the end: the node it was at, and the times and counts so far."""

    node: PlannedNode
    total_latency_ms: int
    ttft_ms: int = 0
    model_answered: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_reported: bool = False
    used_fallback: bool = False
    fallback_reason: str | None = None


@dataclass(frozen=True)
class Ending:
    """One end of a run. `stream`: what a streamed run's caller was sent, closed."""

    event: RunEvent
    end: RunEnd
    reason: CancelReason | None = None
    stream: StreamWriter | None = None


def complete(figures: Figures, reply: Reply, *, finish_reason: str, stream: StreamWriter | None) -> Ending:
    """Return the end of a run whose answer is whole."""
    end = _end(figures, finish_reason, reply=reply)
    if stream is not None:
        stream.close(end)
    return Ending(RunEvent.COMPLETED, end, stream=stream)


def failed(figures: Figures, code: ErrorCode, message: str, *, stream: StreamWriter | None) -> Ending:
    """Return the end of a run that gave no answer. What had come of one is not kept, save what a caller was sent."""
    end = RunEnd(
        finish_reason=_FAULT_REASONS.get(code, _FAULT_REASON),
        reply=None,
        compute_passport_id=figures.node.passport_id,
        runtime=figures.node.runtime,
        model_answered=figures.model_answered or figures.node.model,
        ttft_ms=figures.ttft_ms,
        total_latency_ms=figures.total_latency_ms,
        used_fallback=figures.used_fallback,
        fallback_reason=figures.fallback_reason,
        error_code=code,
        error_message=message,
    )
    if stream is not None:
        stream.fail(code, message)
    return Ending(RunEvent.FAILED, end, stream=stream)


def cancelled(figures: Figures, reason: CancelReason, reply: Reply, *, stream: StreamWriter | None) -> Ending:
    """Return the end of a run that its caller gave up: what was generated is kept and counted."""
    end = _end(figures, reason, reply=reply)
    if stream is not None:
        stream.fail(CANCELLED, WAS_CANCELLED)
    return Ending(RunEvent.CANCELLED, end, reason=reason, stream=stream)


def never_begun(locked: Locked, reason: CancelReason) -> Ending:
    """Return the end of a run that was cancelled before anybody took it up."""
    return cancelled(_untouched(locked), reason, Reply(), stream=_stream(locked.run))


def timed_out(locked: Locked) -> Ending:
    """Return the end of a run whose time was up before anything came of it."""
    return failed(_untouched(locked), ErrorCode.TIMEOUT, TIMED_OUT, stream=_stream(locked.run))


def unfinished(locked: Locked, code: ErrorCode, message: str, *, stream: StreamWriter | None = None) -> Ending:
    """Return the end of a run that is given up; of a streamed one, behind what `stream` holds."""
    return failed(_untouched(locked), code, message, stream=stream or _stream(locked.run))


class Endings:
    """Ends runs."""

    def __init__(self, *, events: Events, receipts: Receipts, ids: Ids) -> None:
        self._events = events
        self._receipts = receipts
        self._ids = ids

    def end(self, tx: Tx, run: Run, ending: Ending) -> None:
        """End a run that `tx` has locked. Raises `TransitionConflict`."""
        to_state = next_state(RUN_TRANSITIONS, run.state, ending.event)
        store.end(tx, run.id, from_state=run.state, to_state=to_state, ended=ending.end, reason=ending.reason)
        if run.streamed:
            if ending.stream is None:
                raise IntegrityFault("a streamed run ends with its stream")
            store.insert_frames(tx, run.id, ending.stream.frames)
        store.insert_usage(tx, run, outcome=_outcome(to_state, ending), ended=ending.end)
        self._events.append(tx, run.owner, ending.event, moved=(run.state, to_state))
        self._leave_receipt(tx, run, ending)

    def _leave_receipt(self, tx: Tx, run: Run, ending: Ending) -> None:
        end = ending.end
        committed = {"input": Committed(run.input_salt, run.input_commitment)}
        output, form = self._output(ending)
        if output is not None:
            committed["output"] = output
        said = {
            "request_id": run.request_id,
            "trace_id": run.trace_id,
            "output_form": form,
            "error_code": end.error_code,
        }
        extra: dict[str, Any] = {name: str(value) for name, value in said.items() if value is not None}
        if ending.stream is not None:
            extra["stream_chunks"] = ending.stream.chain.chunks
        draft = Draft(
            kind=ReceiptKind.INFERENCE,
            owner=run.owner,
            tenant=run.tenant,
            finish_reason=end.finish_reason,
            ran=_ran(run, end),
            committed=committed,
            receipt_id=run.run_id,
            policy_hash=run.policy_hash.hex(),
            used_fallback=end.used_fallback,
            project=run.project,
            extra=extra,
        )
        self._receipts.issue(tx, draft)

    def _output(self, ending: Ending) -> tuple[Committed | None, str | None]:
        """Commit to what the caller was given, and say in which form: the stream's events, what is known of them, text, message."""
        if ending.stream is not None:
            salt = self._ids.random(SALT_BYTES)
            form = "stream_recovered" if ending.stream.is_recovered else "stream"
            return Committed(salt, commit_stream(salt, ending.stream.chain.digest)), form
        reply = ending.end.reply
        if reply is None:
            return None, None
        form = "message" if reply.tool_calls or reply.refusal else "text"
        return self._receipts.commit_to(output_bytes(reply)), form


def output_bytes(reply: Reply) -> bytes:
    """Return what the receipt of an answer that was not streamed commits to.

    The text as UTF-8; where tools are called or the model declined, the RFC 8785 form of `content`, `tool_calls` and `refusal`.
    """
    if not reply.tool_calls and not reply.refusal:
        return reply.text.encode()
    message: dict[str, Any] = {"content": reply.text}
    if reply.tool_calls:
        message["tool_calls"] = [dict(call) for call in reply.tool_calls]
    if reply.refusal:
        message["refusal"] = reply.refusal
    return jcs(message)


def _outcome(to_state: RunState, ending: Ending) -> str:
    if ending.end.error_code is ErrorCode.TIMEOUT:
        return "timed_out"
    return ending.reason or to_state


def _ran(run: Run, end: RunEnd) -> Ran:
    return Ran(
        model_requested=run.model_requested,
        model_answered=end.model_answered,
        upstream=run.plan.node(end.compute_passport_id).endpoint,
        tokens_in=end.tokens_in,
        tokens_out=end.tokens_out,
        ttft_ms=end.ttft_ms,
        total_latency_ms=end.total_latency_ms,
        model_passport_id=run.model_passport_id,
        compute_passport_id=end.compute_passport_id,
        runtime=end.runtime,
    )


def _end(figures: Figures, finish_reason: str, *, reply: Reply) -> RunEnd:
    return RunEnd(
        finish_reason=finish_reason,
        reply=reply,
        compute_passport_id=figures.node.passport_id,
        runtime=figures.node.runtime,
        model_answered=figures.model_answered or figures.node.model,
        tokens_in=figures.tokens_in,
        tokens_out=figures.tokens_out,
        tokens_reported=figures.tokens_reported,
        ttft_ms=figures.ttft_ms,
        total_latency_ms=figures.total_latency_ms,
        used_fallback=figures.used_fallback,
        fallback_reason=figures.fallback_reason,
    )


def _untouched(locked: Locked) -> Figures:
    """Return what is known of a run that this process has done nothing for; one that streamed elsewhere was at the node noted then."""
    plan, at = locked.run.plan, locked.run.compute_passport_id
    return Figures(plan.node(at), locked.waited_ms, used_fallback=at is not None and plan.node(at) is not plan.nodes[0])


def _stream(run: Run) -> StreamWriter | None:
    if not run.streamed:
        return None
    return StreamWriter(run) if run.streaming_since is None else StreamWriter.recovered(run)
