"""Verifications in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.errors import IntegrityFault, TransitionConflict
from shared.receipts.model import Committed
from shared.verification.items import Json
from shared.verification.model import (
    Pipeline,
    Stage,
    StageRow,
    StageState,
    Tally,
    Verification,
    VerificationState,
)
from shared.verification.tools import FaultCode

SQL = Queries.beside(__file__)
NOTHING = Tally()


@dataclass(frozen=True)
class NewVerification:
    """A verification that is to be inserted. `subject`: the code or the task; `deadline_s` from now."""

    request_id: str
    pipeline: Pipeline
    tenant: str
    api_key_id: int | None
    mode: str
    model: str
    language: str
    subject: str = field(repr=False)
    context: str | None = field(repr=False)
    request: Committed
    input: Committed
    stage: Stage
    deadline_s: float


@dataclass(frozen=True)
class Locked:
    """A verification whose row lock is held. `left_s` until its deadline."""

    verification: Verification
    left_s: float


@dataclass(frozen=True)
class OpenAttempt:
    """An attempt at a stage that is under way: its row's id, and its number."""

    id: int
    number: int


@dataclass(frozen=True)
class Spent:
    """What an attempt took. `ttft_ms`: of its first call; `model`: as the upstream names what answered last."""

    tally: Tally = NOTHING
    ttft_ms: int | None = None
    model: str | None = None


def insert(tx: Tx, new: NewVerification, *, unit: int) -> int:
    """Insert a queued verification that holds this unit of the quota, and return its row id."""
    row = tx.one(
        SQL["insert_verification"],
        {
            "request_id": new.request_id,
            "pipeline": new.pipeline,
            "tenant": new.tenant,
            "api_key_id": new.api_key_id,
            "mode": new.mode,
            "model": new.model,
            "language": new.language,
            "subject": new.subject,
            "context": new.context,
            "request_salt": new.request.salt,
            "request_commitment": new.request.digest,
            "input_salt": new.input.salt,
            "input_commitment": new.input.digest,
            "stage": new.stage,
            "unit": unit,
            "deadline_s": new.deadline_s,
        },
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return int(row["id"])


def verification(tx: Tx, row_id: int) -> Verification:
    """Return one verification by its row id. Raises `IntegrityFault` where it is gone."""
    row = tx.one(SQL["verification"], {"id": row_id})
    if row is None:
        raise IntegrityFault("a verification vanished")
    return _verification(row)


def verification_of(tx: Tx, request_id: str, *, tenant: str) -> Verification | None:
    """Return the verification with this public id, if it is this tenant's."""
    row = tx.one(SQL["verification_of"], {"request_id": request_id, "tenant": tenant})
    return None if row is None else _verification(row)


def verifications_of(tx: Tx, tenant: str, *, before: int | None, most: int) -> list[Verification]:
    """Return up to `most` verifications of a tenant, newest first, older than row `before`."""
    rows = tx.all(SQL["verifications_of"], {"tenant": tenant, "before": before, "most": most})
    return [_verification(row) for row in rows]


def lock(tx: Tx, row_id: int) -> Locked:
    """Return one verification and hold its row lock until the transaction ends. Raises `IntegrityFault` where it is gone."""
    row = tx.one(SQL["lock_verification"], {"id": row_id})
    if row is None:
        raise IntegrityFault("a verification vanished")
    return Locked(_verification(row), row["left_s"])


def submission(tx: Tx, row_id: int) -> tuple[str | None, str | None]:
    """Return the code or task and the context; both None once deleted by age."""
    row = tx.one(SQL["submission"], {"id": row_id})
    return (None, None) if row is None else (row["subject"], row["context"])


def commitments(tx: Tx, row_id: int) -> dict[str, Committed]:
    """Return what was committed to when it was accepted: the `request` and the `input`. Raises `IntegrityFault` once erased."""
    row = tx.one(SQL["commitments"], {"id": row_id})
    if row is None:
        raise IntegrityFault("a verification vanished, or its salts did")
    return {
        name: Committed(bytes(row[f"{name}_salt"]), bytes(row[f"{name}_commitment"])) for name in ("request", "input")
    }


def move(tx: Tx, row_id: int, *, from_state: VerificationState, to_state: VerificationState) -> None:
    """Move by compare-and-set to where a worker has it. Raises `TransitionConflict`."""
    if tx.run(SQL["move"], {"id": row_id, "from_state": from_state, "to_state": to_state}) != 1:
        raise TransitionConflict(f"the verification is no longer {from_state}")


def advance(tx: Tx, row_id: int, *, from_stage: Stage, to_stage: Stage) -> None:
    """Make another stage the next one. Raises `TransitionConflict`."""
    if tx.run(SQL["advance"], {"id": row_id, "from_stage": from_stage, "to_stage": to_stage}) != 1:
        raise TransitionConflict(f"the verification is no longer at {from_stage}")


def end(
    tx: Tx,
    row_id: int,
    *,
    from_state: VerificationState,
    to_state: VerificationState,
    fault: tuple[FaultCode, str] | None = None,
) -> int:
    """Move to an end by compare-and-set; return how long it took since it was accepted, in ms. Raises `TransitionConflict`.

    With a `fault` it lets go of its unit of the quota, which is the caller's to give back.
    """
    code, message = fault or (None, None)
    parameters = {"id": row_id, "from_state": from_state, "to_state": to_state, "error_code": code}
    row = tx.one(SQL["end_verification"], {**parameters, "error_message": message, "keeps_unit": fault is None})
    if row is None:
        raise TransitionConflict(f"the verification is no longer {from_state}")
    return max(0, int(row["duration_ms"]))


def resume(
    tx: Tx,
    row_id: int,
    *,
    from_state: VerificationState,
    to_state: VerificationState,
    unit: int,
    model: str,
    deadline_s: float,
) -> None:
    """Queue it again with a unit, a model and a deadline of its own. Raises `TransitionConflict`."""
    states = {"from_state": from_state, "to_state": to_state}
    if tx.run(SQL["resume"], {"id": row_id, **states, "unit": unit, "model": model, "deadline_s": deadline_s}) != 1:
        raise TransitionConflict(f"the verification is no longer {from_state}")


def ask_to_cancel(tx: Tx, row_id: int) -> None:
    """Have the worker that is at it end it."""
    tx.run(SQL["ask_to_cancel"], {"id": row_id})


def is_at_work(tx: Tx, row_id: int) -> bool:
    """Tell whether a stage of it is under way, or was when its process died."""
    row = tx.one(SQL["is_at_work"], {"id": row_id})
    return row is not None and bool(row["is_at_work"])


def overdue(tx: Tx, *, grace_s: float) -> list[int]:
    """Return up to 1000 whose deadline passed, or whose cancelling was asked for, `grace_s` seconds ago."""
    return [row["id"] for row in tx.all(SQL["overdue"], {"grace_s": grace_s})]


def lock_overdue(tx: Tx, row_id: int, *, grace_s: float) -> Verification | None:
    """Lock one that is overdue as `overdue` has it; None where it is so no longer, or somebody else holds it."""
    row = tx.one(SQL["lock_overdue"], {"id": row_id, "grace_s": grace_s})
    return None if row is None else _verification(row)


def erase(tx: Tx, *, age_days: int, most: int) -> dict[Pipeline, list[int]]:
    """Delete what was submitted and what came of it, with the salts, of up to `most` that ended so long ago; return which."""
    erased: dict[Pipeline, list[int]] = {}
    for row in tx.all(SQL["erase"], {"age_days": age_days, "most": most}):
        erased.setdefault(Pipeline(row["pipeline"]), []).append(row["id"])
    return erased


def open_attempt(tx: Tx, row_id: int, stage: Stage, *, input_hash: bytes) -> OpenAttempt:
    """Begin an attempt at a stage. Whoever else was at it is there no more."""
    close_left_attempts(tx, row_id, StageState.INTERRUPTED)
    row = tx.one(SQL["open_attempt"], {"id": row_id, "stage": stage, "input_hash": input_hash})
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return OpenAttempt(row["id"], row["attempt"])


def close_attempt(
    tx: Tx,
    attempt: OpenAttempt,
    state: StageState,
    spent: Spent,
    *,
    output: Json | None = None,
    fault: str | None = None,
) -> bool:
    """End an attempt with what it took; False where it had been ended before."""
    parameters = {
        "attempt_id": attempt.id,
        "state": state,
        "output": None if output is None else Jsonb(output),
        "calls": spent.tally.calls,
        "tokens_in": spent.tally.tokens_in,
        "tokens_out": spent.tally.tokens_out,
        "cost_microusd": spent.tally.cost_microusd,
        "ttft_ms": spent.ttft_ms,
        "model": spent.model,
        "fault": fault,
    }
    return tx.run(SQL["close_attempt"], parameters) == 1


def close_left_attempts(tx: Tx, row_id: int, state: StageState) -> None:
    """End what still counts as under way."""
    tx.run(SQL["close_left_attempts"], {"id": row_id, "state": state})


def outputs(tx: Tx, row_id: int) -> dict[Stage, Json]:
    """Return what the finished stages gave, as far as it was not deleted by age."""
    rows = tx.all(SQL["outputs"], {"id": row_id})
    return {Stage(row["stage"]): row["output"] for row in rows if row["output"] is not None}


def stage_rows(tx: Tx, row_id: int) -> list[tuple[StageRow, int | None]]:
    """Return all attempts at all stages in the order in which they began, each with the time to its first token, in ms."""
    return [(_stage_row(row), row["ttft_ms"]) for row in tx.all(SQL["stage_rows"], {"id": row_id})]


def usage_of(tx: Tx, row_ids: Sequence[int]) -> Mapping[int, Tally]:
    """Return what each of these took: its finished stages, and the one at which it was given up."""
    rows = tx.all(SQL["usage_of"], {"ids": list(row_ids)})
    found = {row["verification_id"]: _tally(row) for row in rows}
    return {row_id: found.get(row_id, NOTHING) for row_id in row_ids}


def _verification(row: Row) -> Verification:
    code = row["error_code"]
    return Verification(
        id=row["id"],
        request_id=row["request_id"],
        pipeline=Pipeline(row["pipeline"]),
        tenant=row["tenant"],
        mode=row["mode"],
        model=row["model"],
        language=row["language"],
        state=VerificationState(row["state"]),
        stage=Stage(row["stage"]),
        round=row["round"],
        unit=row["quota_unit"],
        is_cancel_asked=row["cancel_asked_at"] is not None,
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        duration_ms=None if row["duration_ms"] is None else max(0, row["duration_ms"]),
        is_erased=row["erased_at"] is not None,
        fault_code=None if code is None else FaultCode(code),
        fault_message=row["error_message"],
    )


def _stage_row(row: Row) -> StageRow:
    return StageRow(
        stage=Stage(row["stage"]),
        attempt=row["attempt"],
        state=StageState(row["state"]),
        input_hash=bytes(row["input_hash"]),
        tally=_tally(row),
        duration_ms=None if row["duration_ms"] is None else max(0, row["duration_ms"]),
        model=row["model"],
        fault=row["fault"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
    )


def _tally(row: Row) -> Tally:
    return Tally(row["calls"], row["tokens_in"], row["tokens_out"], row["cost_microusd"])
