"""Inference runs in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.inference.model import (
    ROUTES,
    RUN,
    RUN_ENDED,
    CancelReason,
    ErrorCode,
    Plan,
    PlannedNode,
    Reply,
    Run,
    RunEnd,
    RunState,
    RunView,
    Surface,
)
from shared.kernel.errors import TransitionConflict

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class NewRun:
    """A run that is to be inserted. Just one of `input` (JSON text) and `sealed_input` is there; `deadline_s` from now."""

    run_id: str
    tenant: str
    api_key_id: int | None
    mode: str
    surface: Surface
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
    deadline_s: float | None
    input: str | None = field(default=None, repr=False)
    sealed_input: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Locked:
    """A run whose row lock is held, with what was asked. `waited_ms` since it was accepted, `left_ms` until its deadline.

    `is_deserted`: whoever waited for it left longer ago than the grace.
    """

    run: Run
    input: Mapping[str, Any] | None = field(repr=False)
    sealed_input: bytes | None = field(repr=False)
    waited_ms: int
    left_ms: int | None
    is_deserted: bool


def insert(tx: Tx, new: NewRun) -> Run:
    """Insert a queued run."""
    row = tx.one(
        SQL["insert_run"],
        {
            **{name: getattr(new, name) for name in _AS_GIVEN},
            "plan": Jsonb(_plan_document(new.plan)),
        },
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return Run(
        **{name: getattr(new, name) for name in _OF_BOTH},
        id=row["id"],
        state=RunState.QUEUED,
        deadline_at=row["deadline_at"],
        cancel_reason=None,
        streaming_since=None,
        created_at=row["created_at"],
        forgotten_at=row.get("forgotten_at"),
    )


def run(tx: Tx, run_id: int) -> RunView | None:
    """Return one run by its row id."""
    return _maybe_view(tx.one(SQL["run"], {"id": run_id}))


def run_of(tx: Tx, run_id: str, *, tenant: str) -> RunView | None:
    """Return the run with this public id, if it is this tenant's."""
    return _maybe_view(tx.one(SQL["run_of"], {"run_id": run_id, "tenant": tenant}))


def runs_of(tx: Tx, tenant: str, *, before: int | None, most: int) -> list[RunView]:
    """Return up to `most` runs of a tenant, newest first, older than row `before`."""
    return [_view(row) for row in tx.all(SQL["runs_of"], {"tenant": tenant, "before": before, "most": most})]


def lock(tx: Tx, run_id: int, *, grace_s: float) -> Locked | None:
    """Return one run with what was asked and hold its row lock until the transaction ends."""
    row = tx.one(SQL["lock_run"], {"id": run_id, "grace_s": grace_s})
    if row is None:
        return None
    sealed = row["sealed_input"]
    return Locked(
        run=_run(row),
        input=row["input"],
        sealed_input=None if sealed is None else bytes(sealed),
        waited_ms=max(0, row["waited_ms"]),
        left_ms=row["left_ms"],
        is_deserted=row["is_deserted"],
    )


def start(tx: Tx, run_id: int, *, from_state: RunState, to_state: RunState) -> None:
    """Move by compare-and-set to where a worker has it. Raises `TransitionConflict`."""
    if tx.run(SQL["start_run"], {"id": run_id, "from_state": from_state, "to_state": to_state}) != 1:
        raise TransitionConflict(f"the run is no longer {from_state}")


def begin_streaming(tx: Tx, run_id: int, *, compute_passport_id: str) -> bool:
    """Note that its caller holds a part of that node's answer from now on; False where that was noted before, or it has ended."""
    return tx.run(SQL["begin_streaming"], {"id": run_id, "compute_passport_id": compute_passport_id}) == 1


def end(
    tx: Tx, run_id: int, *, from_state: RunState, to_state: RunState, ended: RunEnd, reason: CancelReason | None
) -> None:
    """Move to an end by compare-and-set and store what came of it. Raises `TransitionConflict`."""
    parameters = {
        **{name: getattr(ended, name) for name in _OF_END},
        "id": run_id,
        "from_state": from_state,
        "to_state": to_state,
        "cancel_reason": reason,
        "answer": None if ended.reply is None else Jsonb(_reply_document(ended.reply)),
    }
    if tx.run(SQL["end_run"], parameters) != 1:
        raise TransitionConflict(f"the run is no longer {from_state}")


def insert_frames(tx: Tx, run_id: int, frames: Sequence[bytes]) -> None:
    """Store the frames of a streamed run, once."""
    tx.run(SQL["insert_frames"], {"id": run_id, "frames": list(frames)})


def frames(tx: Tx, run_id: int, *, after: int) -> tuple[list[bytes], int]:
    """Return the stored frames after number `after`, and how many there are in all."""
    row = tx.one(SQL["frames"], {"id": run_id, "after": after})
    return ([], 0) if row is None else ([bytes(frame) for frame in row["frames"]], row["total"])


def insert_usage(tx: Tx, of: Run, *, outcome: str, ended: RunEnd) -> None:
    """Store what a run counts for. A second row for one run violates a constraint."""
    tx.run(
        SQL["insert_usage"],
        {
            "owner_kind": RUN,
            "owner_id": of.id,
            "tenant": of.tenant,
            "mode": of.mode,
            "route": ROUTES[of.surface],
            "outcome": outcome,
            "tokens_in": ended.tokens_in,
            "tokens_out": ended.tokens_out,
            "tokens_reported": ended.tokens_reported,
        },
    )


def ask_to_cancel(tx: Tx, run_id: int) -> None:
    """Have the worker of a running run end it."""
    tx.run(SQL["ask_to_cancel"], {"id": run_id})


def leave(tx: Tx, run_id: int) -> None:
    """Note that nobody reads the answer of a run any more, unless nobody had to."""
    tx.run(SQL["leave"], {"id": run_id})


def stay(tx: Tx, run_ids: Sequence[int]) -> None:
    """Note that somebody reads the answers of these runs."""
    tx.run(SQL["stay"], {"ids": list(run_ids)})


def ended_among(tx: Tx, run_ids: Sequence[int]) -> list[int]:
    """Return which of these runs have ended."""
    return [row["id"] for row in tx.all(SQL["ended_among"], {"ids": list(run_ids)})]


def cancelled_among(tx: Tx, run_ids: Sequence[int], *, grace_s: float) -> dict[int, CancelReason]:
    """Return which of these runs are to be cancelled, and why."""
    rows = tx.all(SQL["cancelled_among"], {"ids": list(run_ids), "grace_s": grace_s})
    return {row["id"]: CancelReason(row["reason"]) for row in rows}


def overdue(tx: Tx, *, grace_s: float) -> list[int]:
    """Return up to 1000 runs that nobody streams and whose deadline passed `grace_s` seconds ago."""
    return [row["id"] for row in tx.all(SQL["overdue"], {"grace_s": grace_s})]


def is_overdue(tx: Tx, run_id: int, *, grace_s: float) -> bool:
    """Tell whether a run is overdue still as `overdue` has it, and lock it; False also where somebody else holds it."""
    return tx.one(SQL["lock_overdue"], {"id": run_id, "grace_s": grace_s}) is not None


def forget(tx: Tx, *, days: int, most: int) -> list[int]:
    """Empty up to `most` of the oldest runs that ended more than `days` days ago; return their rows."""
    return [row["id"] for row in tx.all(SQL["forget"], {"days": days, "most": most})]


_OF_BOTH = (
    "run_id",
    "tenant",
    "mode",
    "surface",
    "streamed",
    "detached",
    "plan",
    "policy_hash",
    "model_passport_id",
    "model_requested",
    "request_id",
    "trace_id",
    "project",
    "input_salt",
    "input_commitment",
)
_AS_GIVEN = (*_OF_BOTH, "api_key_id", "input", "sealed_input", "deadline_s")
_OF_END = (
    "finish_reason",
    "compute_passport_id",
    "runtime",
    "model_answered",
    "tokens_in",
    "tokens_out",
    "tokens_reported",
    "ttft_ms",
    "total_latency_ms",
    "used_fallback",
    "fallback_reason",
    "error_code",
    "error_message",
)


def _maybe_view(row: Row | None) -> RunView | None:
    return None if row is None else _view(row)


def _view(row: Row) -> RunView:
    made = _run(row)
    return RunView(made, end=_end(row) if made.state in RUN_ENDED else None)


def _run(row: Row) -> Run:
    reason = row["cancel_reason"]
    return Run(
        id=row["id"],
        run_id=row["run_id"],
        tenant=row["tenant"],
        mode=row["mode"],
        surface=Surface(row["surface"]),
        state=RunState(row["state"]),
        streamed=row["streamed"],
        detached=row["detached"],
        plan=_plan(row["plan"]),
        policy_hash=bytes(row["policy_hash"]),
        model_passport_id=row["model_passport_id"],
        model_requested=row["model_requested"],
        request_id=row["request_id"],
        trace_id=row["trace_id"],
        project=row["project"],
        input_salt=bytes(row["input_salt"] or b""),
        input_commitment=bytes(row["input_commitment"]),
        deadline_at=row["deadline_at"],
        cancel_reason=None if reason is None else CancelReason(reason),
        streaming_since=row["streaming_since"],
        compute_passport_id=row.get("compute_passport_id"),
        created_at=row["created_at"],
        forgotten_at=row.get("forgotten_at"),
    )


def _end(row: Row) -> RunEnd:
    answer, code = row["answer"], row["error_code"]
    return RunEnd(
        finish_reason=row["finish_reason"],
        reply=None if answer is None else _reply(answer),
        compute_passport_id=row["compute_passport_id"],
        runtime=row["runtime"],
        model_answered=row["model_answered"],
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        tokens_reported=row["usage_reported"],
        ttft_ms=row["ttft_ms"],
        total_latency_ms=row["total_latency_ms"],
        used_fallback=row["used_fallback"],
        fallback_reason=row["fallback_reason"],
        error_code=None if code is None else ErrorCode(code),
        error_message=row["error_message"],
        ended_at=row["ended_at"],
    )


def _plan_document(plan: Plan) -> dict[str, Any]:
    nodes = [asdict(node) for node in plan.nodes]
    return {"nodes": nodes, "redact_pii": plan.redact_pii, "include_usage": plan.include_usage}


def _plan(document: Mapping[str, Any]) -> Plan:
    nodes = tuple(PlannedNode(**node) for node in document["nodes"])
    return Plan(nodes, redact_pii=document["redact_pii"], include_usage=document["include_usage"])


def _reply_document(reply: Reply) -> dict[str, Any]:
    return {
        "text": reply.text,
        "tool_calls": [dict(call) for call in reply.tool_calls],
        "refusal": reply.refusal,
        "logprobs": reply.logprobs,
    }


def _reply(document: Mapping[str, Any]) -> Reply:
    return Reply(
        text=document["text"],
        tool_calls=tuple(document["tool_calls"]),
        refusal=document["refusal"],
        logprobs=document["logprobs"],
    )
