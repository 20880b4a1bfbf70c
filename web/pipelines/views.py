"""Verifications as the pipelines' contract shows them: pure functions of what the desk knows. Names at the edge are the contract's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from shared.sandbox.model import Probe
from shared.verification.items import (
    Attempt,
    Claim,
    Constraint,
    Lines,
    Remediation,
    Ruling,
    Specification,
    SpecStatus,
    SpecVerdict,
    Verdict,
)
from shared.verification.model import (
    ForwardResult,
    Pipeline,
    Progress,
    StageRow,
    Verification,
    VerificationState,
    VerificationView,
)
from web.pipelines.moments import moment
from web.problems import INTERNAL, Problem

Shown = dict[str, Any]

CANCELLED = "cancelled"
CANCELLED_MESSAGE = "the run was cancelled"
ERASED = "erased"
ERASED_MESSAGE = "what came of this run was deleted by age"
COME_BACK_S = 5
"""When asking anew, or resuming, makes sense after a failure."""
_MICROUSD = Decimal(1_000_000)


def result_shown(view: VerificationView) -> Shown | None:
    """Return the contract's body of a complete run; None of any other, and of one whose content was deleted by age."""
    if view.verification.state is not VerificationState.COMPLETE or view.verification.is_erased:
        return None
    if view.verification.pipeline is Pipeline.FORWARD:
        return forward_shown(view)
    return reverse_shown(view)


def forward_shown(view: VerificationView) -> Shown:
    """Return what came of verifying code."""
    assert view.submitted is not None  # noqa: S101 - it is complete, and not erased
    found = view.forward or ForwardResult()
    claims, remediations = found.claims or (), found.remediations or ()
    return {
        "request_id": view.verification.request_id,
        "code": view.submitted.code,
        "language": view.verification.language,
        "claims": {"count": len(claims), "items": [claim_shown(claim) for claim in claims]},
        "verification": _ruled(found.verdicts or ()),
        "remediation": {"count": len(remediations), "items": [remediation_shown(one) for one in remediations]},
        **_proven(view),
    }


def reverse_shown(view: VerificationView) -> Shown:
    """Return what came of generating code."""
    assert view.task is not None  # noqa: S101 - it is complete, and not erased
    assert view.reverse is not None  # noqa: S101
    assert view.reverse.chosen is not None  # noqa: S101
    specs, constraints = view.reverse.specifications or (), view.reverse.constraints or ()
    return {
        "request_id": view.verification.request_id,
        "task": view.task.task,
        "language": view.verification.language,
        "code": view.reverse.chosen.code,
        "specs": {"count": len(specs), "items": [specification_shown(one) for one in specs]},
        "constraints": {"count": len(constraints), "items": [constraint_shown(one) for one in constraints]},
        "verification": _satisfied(view.reverse.chosen.verdicts, total=len(specs)),
        "attempts": [attempt_shown(one) for one in view.reverse.attempts or ()],
        **_proven(view),
    }


def run_shown(view: VerificationView, *, is_whole: bool) -> Shown:
    """Return a run as it stands. `is_whole`: with its stages, its result and what opens its receipt's commitments."""
    run = view.verification
    shown = {
        "request_id": run.request_id,
        "pipeline": str(run.pipeline),
        "state": str(run.state),
        "stage": str(run.stage),
        "mode": run.mode,
        "language": run.language,
        "model": run.model or None,
        "cancel_asked": run.is_cancel_asked,
        "resumed": run.round,
        "created_at": moment(run.created_at),
        "started_at": moment(run.started_at),
        "ended_at": moment(run.ended_at),
        "duration_ms": run.duration_ms,
        "erased": run.is_erased,
        "error": _fault_shown(run),
        "receipt_id": view.receipt_id,
    }
    if not is_whole:
        return _present(shown)
    shown |= {"asked": _asked(view), "usage": usage_shown(view), "result": result_shown(view)}
    if view.salts:
        shown["salts"] = {name: salt.hex() for name, salt in view.salts.items()}
    return _present(shown)


def failure_of(view: VerificationView) -> Problem:
    """Return why a run that has ended has no result."""
    run = view.verification
    if run.state is VerificationState.CANCELLED:
        return Problem(HTTPStatus.CONFLICT, CANCELLED, CANCELLED_MESSAGE)
    if run.is_erased:
        return Problem(HTTPStatus.CONFLICT, ERASED, ERASED_MESSAGE)
    code = str(run.fault_code or INTERNAL[0])
    message = run.fault_message or INTERNAL[1]
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, code, message, retry_after_s=COME_BACK_S)


def progress_shown(run: Verification, progress: Progress) -> Shown:
    """Return one thing that happened to a run, for those who watch it."""
    state = str(progress.state) if progress.state is not None else None
    shown = {"request_id": run.request_id, "event": progress.name, "state": state, "at": moment(progress.at)}
    return _present({**progress.facts, **shown})


def usage_shown(view: VerificationView) -> Shown:
    """Return what a run took; all attempts of all stages count."""
    run, taken = view.verification, view.usage
    stages = [_stage_shown(row) for row in view.stage_rows]
    return {
        "input_tokens": taken.tokens_in,
        "output_tokens": taken.tokens_out,
        "duration_ms": run.duration_ms or 0,
        "pipeline_calls": taken.calls,
        "cost_usd": taken.cost_microusd / _MICROUSD,
        "stages": stages,
    }


def claim_shown(claim: Claim) -> Shown:
    """Return a claim."""
    shown = {
        "id": claim.id,
        "category": str(claim.category),
        "severity": str(claim.severity),
        "description": claim.description,
        "assertion": claim.assertion,
        "testable": claim.testable,
        "function": claim.function,
        "lines": _lines_shown(claim.lines),
        "probe": _probe_shown(claim.probe),
        "basis": claim.basis,
    }
    return _present(shown)


def verdict_shown(verdict: Verdict) -> Shown:
    """Return a verdict."""
    shown = {
        "claimId": verdict.claim_id,
        "verdict": str(verdict.verdict),
        "reasoning": verdict.reasoning,
        "evidence": verdict.evidence,
        "evidence_kind": str(verdict.evidence_kind),
        "lines": _lines_shown(verdict.lines),
        "transcript": list(verdict.transcript),
        "opinion": verdict.opinion,
    }
    return _present(shown)


def remediation_shown(remediation: Remediation) -> Shown:
    """Return a remediation."""
    shown = {
        "claimId": remediation.claim_id,
        "title": remediation.title,
        "description": remediation.description,
        "action": str(remediation.action),
        "severity": str(remediation.severity),
        "codeGuidance": remediation.code_guidance,
        "verified": remediation.verified,
    }
    return _present(shown)


def specification_shown(specification: Specification) -> Shown:
    """Return a specification."""
    shown = {
        "id": specification.id,
        "category": str(specification.category),
        "severity": str(specification.severity),
        "description": specification.description,
        "assertion": specification.assertion,
        "rationale": specification.rationale,
        "probe": _probe_shown(specification.probe),
    }
    return _present(shown)


def constraint_shown(constraint: Constraint) -> Shown:
    """Return a constraint."""
    shown = {
        "id": constraint.id,
        "type": str(constraint.type),
        "description": constraint.description,
        "pattern": constraint.pattern,
        "source": str(constraint.source),
    }
    return _present(shown)


def spec_verdict_shown(verdict: SpecVerdict) -> Shown:
    """Return what became of a specification."""
    shown = {
        "specId": verdict.spec_id,
        "status": str(verdict.status),
        "reasoning": verdict.reasoning,
        "evidence_kind": str(verdict.evidence_kind),
        "transcript": list(verdict.transcript),
        "opinion": verdict.opinion,
        "disputed": verdict.disputed,
    }
    return _present(shown)


def attempt_shown(attempt: Attempt) -> Shown:
    """Return one try at the code; what became of its specifications stands beside the chosen one alone."""
    return {
        "number": attempt.number,
        "satisfied": attempt.satisfied,
        "chosen": attempt.chosen,
        "code": attempt.code,
    }


def _asked(view: VerificationView) -> Shown | None:
    if view.submitted is not None:
        return _present({"code": view.submitted.code, "context": view.submitted.context})
    if view.task is not None:
        return _present({"task": view.task.task, "context": view.task.context})
    return None


def _proven(view: VerificationView) -> Shown:
    return {"usage": usage_shown(view), "receipt_id": view.receipt_id}


def _ruled(verdicts: Sequence[Verdict]) -> Shown:
    counts = Counter(verdict.verdict for verdict in verdicts)
    return {
        "passed": counts[Ruling.PASS],
        "failed": counts[Ruling.FAIL],
        "partial": counts[Ruling.PARTIAL],
        "not_applicable": counts[Ruling.NOT_APPLICABLE],
        "total": len(verdicts),
        "items": [verdict_shown(verdict) for verdict in verdicts],
    }


def _satisfied(verdicts: Sequence[SpecVerdict], *, total: int) -> Shown:
    counts = Counter(verdict.status for verdict in verdicts)
    satisfied = counts[SpecStatus.SATISFIED]
    return {
        "satisfied": satisfied,
        "partial": counts[SpecStatus.PARTIAL],
        "unsatisfied": counts[SpecStatus.UNSATISFIED],
        "unknown": counts[SpecStatus.UNKNOWN],
        "total": total,
        "percentage": round(100 * satisfied / total, 1) if total else 0.0,
        "items": [spec_verdict_shown(verdict) for verdict in verdicts],
    }


def _stage_shown(row: StageRow) -> Shown:
    shown = {
        "stage": str(row.stage),
        "attempt": row.attempt,
        "state": str(row.state),
        "model": row.model,
        "calls": row.tally.calls,
        "input_tokens": row.tally.tokens_in,
        "output_tokens": row.tally.tokens_out,
        "cost_usd": row.tally.cost_microusd / _MICROUSD,
        "duration_ms": row.duration_ms,
        "input_hash": row.input_hash.hex(),
        "started_at": moment(row.started_at),
        "ended_at": moment(row.ended_at),
        "fault": row.fault,
    }
    return _present(shown)


def _fault_shown(run: Verification) -> Shown | None:
    if run.state is not VerificationState.FAILED:
        return None
    return {"code": str(run.fault_code or INTERNAL[0]), "message": run.fault_message or INTERNAL[1]}


def _probe_shown(probe: Probe | None) -> Shown | None:
    if probe is None:
        return None
    return _present(
        {"setup": probe.setup or None, "call": probe.call, "expected": probe.expected, "raises": probe.raises}
    )


def _lines_shown(lines: Lines | None) -> Shown | None:
    return None if lines is None else {"first": lines[0], "last": lines[1]}


def _present(shown: Shown) -> Shown:
    return {name: value for name, value in shown.items() if value is not None}
