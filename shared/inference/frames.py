"""The exact bytes of a stream, event by event. Pure: what a receipt commits to and what a resumed stream repeats is built here only.

An event is `id: N`, `data: JSON`, an empty line; `[DONE]` has no id, nor has what ends a stream of which no process is sure how
much was sent. What comes before the event that names the receipt is what the receipt commits to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from shared.inference.model import Run, RunEnd, Surface
from shared.kernel.commitments import StreamChain
from shared.llm.model import Delta

DONE = b"data: [DONE]\n\n"
CANCELLED = "CANCELLED"
"""The `error_code` of a stream that was cancelled; the run has none."""


def event(seq: int | None, data: str) -> bytes:
    """Return one event, with its number where it has one. `data` holds no line break (JSON text never does)."""
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}data: {data}\n\n".encode()


class Dialect(Protocol):
    """How one route writes its stream: JSON texts, one an event."""

    def piece(self, piece: Delta, *, is_first: bool, finish_reason: str | None) -> str | None:
        """Return the next piece of the answer; None where this route says nothing of it."""
        ...

    def closing(self, end: RunEnd) -> list[str]:
        """Return what closes a complete stream before `[DONE]`; the first of it names the receipt."""
        ...

    def fault(self, code: str, message: str) -> str:
        """Return what closes a stream that failed; it names the receipt."""
        ...


class InferenceDialect:
    """`POST /v1/run/inference`: the gateway contract's own events."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._head = f'{{"run_id":{_json(run.run_id)},"text":'

    def piece(self, piece: Delta, *, is_first: bool, finish_reason: str | None) -> str | None:
        """Return a token's event. A piece without text is told only where it is the last."""
        text = piece.text or piece.refusal or ""
        if not text and finish_reason is None:
            return None
        first, last = ("true" if flag else "false" for flag in (is_first, finish_reason is not None))
        return f'{self._head}{_json(text)},"is_first":{first},"is_last":{last},"finish_reason":{_json(finish_reason)}}}'

    def closing(self, end: RunEnd) -> list[str]:
        """Return the figures and the receipt."""
        figures = {
            "run_id": self._run.run_id,
            "done": True,
            "tokens_in": end.tokens_in,
            "tokens_out": end.tokens_out,
            "ttft_ms": end.ttft_ms,
            "total_latency_ms": end.total_latency_ms,
            "receipt_id": self._run.run_id,
            "used_fallback": end.used_fallback,
            "policy_hash": self._run.policy_hash.hex(),
            "model_passport_id": self._run.model_passport_id,
            "compute_passport_id": end.compute_passport_id,
            "request_id": self._run.request_id,
        }
        optional = {"fallback_reason": end.fallback_reason, "trace_id": self._run.trace_id}
        return [_json(figures | {name: value for name, value in optional.items() if value is not None})]

    def fault(self, code: str, message: str) -> str:
        """Return the error."""
        run_id = self._run.run_id
        return _json({"error": message, "error_code": code, "run_id": run_id, "receipt_id": run_id})


class ChatDialect:
    """`POST /v1/chat/completions`: OpenAI's chunks; the last with a choice carries `lucid`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        known = {
            "id": run.run_id,
            "object": "chat.completion.chunk",
            "created": int(run.created_at.timestamp()),
            "model": run.model_requested,
        }
        self._head = _json(known)[:-1]

    def piece(self, piece: Delta, *, is_first: bool, finish_reason: str | None) -> str | None:
        """Return a delta. The finish reason waits for the last chunk, which names the receipt."""
        del finish_reason
        delta: dict[str, Any] = {"role": "assistant"} if is_first else {}
        if piece.text or is_first:
            delta["content"] = piece.text
        if piece.tool_calls:
            delta["tool_calls"] = list(piece.tool_calls)
        if piece.refusal:
            delta["refusal"] = piece.refusal
        return self._chunk(delta, logprobs=piece.logprobs) if delta or piece.logprobs else None

    def closing(self, end: RunEnd) -> list[str]:
        """Return the chunk with the finish reason and the receipt, and the usage where it was asked for."""
        lucid = {
            "run_id": self._run.run_id,
            "receipt_id": self._run.run_id,
            "compute_passport_id": end.compute_passport_id,
            "policy_hash": self._run.policy_hash.hex(),
            "ttft_ms": end.ttft_ms,
        }
        texts = [self._chunk({}, finish_reason=end.finish_reason, lucid=lucid)]
        if self._run.plan.include_usage:
            total = end.tokens_in + end.tokens_out
            usage = {"prompt_tokens": end.tokens_in, "completion_tokens": end.tokens_out, "total_tokens": total}
            texts.append(f'{self._head},"choices":[],"usage":{_json(usage)}}}')
        return texts

    def fault(self, code: str, message: str) -> str:
        """Return OpenAI's error."""
        error = {"message": message, "type": "server_error", "param": None, "code": code.lower()}
        return _json({"error": error, "lucid": {"run_id": self._run.run_id, "receipt_id": self._run.run_id}})

    def _chunk(
        self,
        delta: Mapping[str, Any],
        *,
        logprobs: Mapping[str, Any] | None = None,
        finish_reason: str | None = None,
        lucid: Mapping[str, Any] | None = None,
    ) -> str:
        choice = (
            f'{{"index":0,"delta":{_json(delta)},"logprobs":{_json(logprobs)},"finish_reason":{_json(finish_reason)}}}'
        )
        usage = ',"usage":null' if self._run.plan.include_usage else ""
        more = f',"lucid":{_json(lucid)}' if lucid is not None else ""
        return f'{self._head},"choices":[{choice}]{usage}{more}}}'


class StreamWriter:
    """Numbers the events of one stream and chains those that its receipt commits to.

    `frames` is all that was written; `chain` covers it up to where the stream was closed. `is_recovered`: another process began the
    stream, and may have sent more of it than is known here.
    """

    def __init__(self, run: Run) -> None:
        self._dialect = dialect_of(run)
        self.frames: list[bytes] = []
        self.chain = StreamChain(run.run_id)
        self.is_recovered = False

    @classmethod
    def recovered(cls, run: Run, known: Iterable[bytes] = ()) -> StreamWriter:
        """Return the stream of a run that another process has begun, behind what is `known` of it."""
        stream = cls(run)
        stream.is_recovered = True
        for frame in known:
            stream.frames.append(frame)
            stream.chain.absorb(frame)
        return stream

    def piece(self, piece: Delta, *, finish_reason: str | None = None) -> bytes | None:
        """Return the next piece's event; None where there is nothing to tell."""
        text = self._dialect.piece(piece, is_first=not self.frames, finish_reason=finish_reason)
        if text is None:
            return None
        frame = event(len(self.frames) + 1, text)
        self.frames.append(frame)
        self.chain.absorb(frame)
        return frame

    def close(self, end: RunEnd) -> list[bytes]:
        """Return what closes the stream of an answer that is complete."""
        return self._append([*self._numbered(self._dialect.closing(end)), DONE])

    def fail(self, code: str, message: str) -> list[bytes]:
        """Return what closes the stream of a run that failed or was cancelled."""
        fault = self._dialect.fault(code, message)
        return self._append([event(None, fault)] if self.is_recovered else self._numbered([fault]))

    def _numbered(self, texts: list[str]) -> list[bytes]:
        return [event(seq, text) for seq, text in enumerate(texts, start=len(self.frames) + 1)]

    def _append(self, frames: list[bytes]) -> list[bytes]:
        self.frames += frames
        return frames


def dialect_of(run: Run) -> Dialect:
    """Return how a run's route writes its stream."""
    return ChatDialect(run) if run.surface is Surface.CHAT else InferenceDialect(run)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _json(value: object) -> str:
    return _encode(value)
