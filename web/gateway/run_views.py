"""Runs as the gateway's contract, OpenAI's and our own addresses show them: pure functions of what the service knows."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from shared.inference.model import ErrorCode, Moved, Reply, Run, RunEnd, RunState, RunView, Surface
from web.gateway.views import present
from web.problems import Problem

CANCELLED = "CANCELLED"
CANCELLED_MESSAGES = {
    "cancelled": "the run was cancelled",
    "disconnected": "the run was cancelled: its caller left and did not come back",
}
COME_BACK_S = {
    ErrorCode.RATE_LIMIT: 5,
    ErrorCode.CONNECTION: 2,
    ErrorCode.PROVIDER_ERROR: 2,
    ErrorCode.INTERRUPTED: 1,
}
"""When a new run makes sense, after a failure that need not repeat itself."""


def result_shown(view: RunView, end: RunEnd) -> dict[str, Any]:
    """Return the contract's InferenceResult of a complete run."""
    run = view.run
    shown = {
        "success": True,
        "run_id": run.run_id,
        "request_id": run.request_id,
        "trace_id": run.trace_id,
        "text": _text(end.reply),
        "finish_reason": end.finish_reason,
        "tokens_in": end.tokens_in,
        "tokens_out": end.tokens_out,
        "ttft_ms": end.ttft_ms,
        "total_latency_ms": end.total_latency_ms,
        "model_passport_id": run.model_passport_id,
        "compute_passport_id": end.compute_passport_id,
        "runtime": end.runtime,
        "policy_hash": run.policy_hash.hex(),
        "receipt_id": view.receipt_id,
        "used_fallback": end.used_fallback,
        "fallback_reason": end.fallback_reason,
    }
    return present(shown)


def completion_shown(view: RunView, end: RunEnd) -> dict[str, Any]:
    """Return OpenAI's chat completion of a complete run, with what proves it."""
    run, reply = view.run, end.reply or Reply()
    choice = {
        "index": 0,
        "message": message_shown(reply),
        "logprobs": reply.logprobs,
        "finish_reason": end.finish_reason,
    }
    return {
        "id": run.run_id,
        "object": "chat.completion",
        "created": int(run.created_at.timestamp()),
        "model": run.model_requested,
        "choices": [choice],
        "usage": {
            "prompt_tokens": end.tokens_in,
            "completion_tokens": end.tokens_out,
            "total_tokens": end.tokens_in + end.tokens_out,
        },
        "lucid": lucid_shown(view),
    }


def message_shown(reply: Reply) -> dict[str, Any]:
    """Return OpenAI's message: `content` is null where only tools are called or the model declined."""
    has_text = bool(reply.text) or not (reply.tool_calls or reply.refusal)
    message = {"role": "assistant", "content": reply.text if has_text else None, "refusal": reply.refusal}
    return {**message, "tool_calls": list(reply.tool_calls)} if reply.tool_calls else message


def lucid_shown(view: RunView) -> dict[str, Any]:
    """Return what OpenAI's shape has no place for."""
    run, end = view.run, view.end
    shown = {
        "run_id": run.run_id,
        "receipt_id": view.receipt_id,
        "compute_passport_id": end.compute_passport_id if end else None,
        "policy_hash": run.policy_hash.hex(),
        "ttft_ms": end.ttft_ms if end else None,
        "used_fallback": end.used_fallback if end else None,
        "trace_id": run.trace_id,
        "request_id": run.request_id,
    }
    return present(shown)


def failure_of(view: RunView, end: RunEnd) -> tuple[Problem, dict[str, Any]]:
    """Return why a run has no answer, and what is told besides."""
    run = view.run
    if run.state is RunState.CANCELLED:
        problem = Problem(HTTPStatus.GONE, CANCELLED, CANCELLED_MESSAGES[str(run.cancel_reason or "cancelled")])
    else:
        code = end.error_code or ErrorCode.UNKNOWN
        problem = Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            str(code),
            end.error_message or "the run failed",
            retry_after_s=COME_BACK_S.get(code),
        )
    if run.surface is Surface.CHAT:
        return problem, {"lucid": lucid_shown(view)}
    members = {
        "run_id": run.run_id,
        "request_id": run.request_id,
        "trace_id": run.trace_id,
        "total_latency_ms": end.total_latency_ms,
        "receipt_id": view.receipt_id,
    }
    return problem, present(members)


def run_shown(view: RunView, *, is_whole: bool) -> dict[str, Any]:
    """Return a run as it stands. `is_whole`: with its answer and what opens its receipt's commitments."""
    run, end = view.run, view.end
    shown = {
        "run_id": run.run_id,
        "state": str(run.state),
        "surface": str(run.surface),
        "mode": run.mode,
        "streamed": run.streamed,
        "detached": run.detached,
        "model": run.model_requested,
        "model_passport_id": run.model_passport_id,
        "policy_hash": run.policy_hash.hex(),
        "request_id": run.request_id,
        "trace_id": run.trace_id,
        "project_id": run.project,
        "created_at": int(run.created_at.timestamp()),
        "cancel_reason": str(run.cancel_reason) if run.cancel_reason else None,
        "forgotten_at": int(run.forgotten_at.timestamp()) if run.forgotten_at else None,
    }
    if end is not None:
        shown |= _end_shown(run, end, is_whole=is_whole)
        shown["receipt_id"] = view.receipt_id
    if is_whole and view.salts:
        shown["salts"] = {name: salt.hex() for name, salt in view.salts.items()}
    return present(shown)


def moved_shown(run: Run, moved: Moved) -> dict[str, Any]:
    """Return one move of a run, for those who watch it."""
    return {
        "run_id": run.run_id,
        "event": moved.event,
        "state": str(moved.state),
        "at": int(moved.at.timestamp()),
    }


def _end_shown(run: Run, end: RunEnd, *, is_whole: bool) -> dict[str, Any]:
    shown = {
        "ended_at": int(end.ended_at.timestamp()) if end.ended_at else None,
        "compute_passport_id": end.compute_passport_id,
        "runtime": end.runtime,
        "finish_reason": end.finish_reason,
        "tokens_in": end.tokens_in,
        "tokens_out": end.tokens_out,
        "tokens_reported": end.tokens_reported,
        "ttft_ms": end.ttft_ms,
        "total_latency_ms": end.total_latency_ms,
        "used_fallback": end.used_fallback,
        "fallback_reason": end.fallback_reason,
        "error": end.error_message,
        "error_code": str(end.error_code) if end.error_code else None,
    }
    if not is_whole or end.reply is None:
        return shown
    message = message_shown(end.reply) if run.surface is Surface.CHAT else None
    return {**shown, "text": _text(end.reply), "message": message}


def _text(reply: Reply | None) -> str:
    """Return what the model said, its refusal where it only declined."""
    return "" if reply is None else reply.text or reply.refusal or ""
