"""What has come of one streamed completion. Upstream's JSON is taken as foreign: every field is looked at before use."""

from __future__ import annotations

import re
from typing import Any

from shared.llm.model import (
    Completion,
    Partial,
    UpstreamGarbage,
    UpstreamInterrupted,
    UpstreamRefused,
    estimated_tokens,
)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL's text and UTF-8 can hold neither NUL nor a lone surrogate."""
_MOST_CHARS_PER_TOKEN = 64
_SLACK_CHARS = 4096
_NAME_CHARS = 200
_MOST_TOKENS = 2**31 - 1
_REASONING_FIELDS = ("reasoning_content", "reasoning")


class Reception:
    """Collects chunks. `begun`: the model is at work; `finished`: it has given a reason to stop."""

    def __init__(self, *, model: str, prompt_chars: int, max_tokens: int) -> None:
        self._model = model
        self._prompt_chars = prompt_chars
        self._most_chars = max_tokens * _MOST_CHARS_PER_TOKEN + _SLACK_CHARS
        self._pieces: list[str] = []
        self._chars = 0
        self._usage: tuple[int, int] | None = None
        self._finish_reason: str | None = None
        self._refused = False
        self._ttft_ms: int | None = None
        self.chunks = 0
        self.begun = False

    @property
    def finished(self) -> bool:
        """Whether a finish reason has come; only the usage may still follow."""
        return self._finish_reason is not None

    def take(self, chunk: object, *, at_ms: int) -> str:
        """Take one chunk and return its text, which may be empty. Raises `UpstreamGarbage`."""
        self.chunks += 1
        fields = self._object(chunk, "chunk")
        if isinstance(fields.get("model"), str):
            self._model = fields["model"][:_NAME_CHARS]
        self._usage = read_usage(fields.get("usage")) or self._usage
        choices = fields.get("choices")
        if choices is None or choices == []:
            return ""
        if not isinstance(choices, list):
            raise self._garbage("choices is not a list")
        return self._take_choice(self._object(choices[0], "choice"), at_ms)

    def _take_choice(self, choice: dict[str, Any], at_ms: int) -> str:
        delta = self._object(choice.get("delta") or {}, "delta")
        text, refusal, reason = delta.get("content") or "", delta.get("refusal"), choice.get("finish_reason")
        if not isinstance(text, str) or not (reason is None or isinstance(reason, str)):
            raise self._garbage("content or finish_reason is not a string")
        self._refused = self._refused or bool(refusal) or reason == "content_filter"
        self.begun = self.begun or bool(text or refusal or reason or any(delta.get(name) for name in _REASONING_FIELDS))
        self._finish_reason = reason[:_NAME_CHARS] if reason else self._finish_reason
        return self._add(text, at_ms) if text else ""

    def _add(self, raw: str, at_ms: int) -> str:
        text = storable(raw)
        if self._ttft_ms is None:
            self._ttft_ms = at_ms
        self._pieces.append(text)
        self._chars += len(text)
        if self._chars > self._most_chars:
            raise self._garbage("far more text than max_tokens allows")
        return text

    def partial(self) -> Partial:
        """Return what has come so far."""
        tokens_in, tokens_out = self._counts() if self._chars or self._usage else (0, 0)
        return Partial("".join(self._pieces), tokens_in, tokens_out, usage_reported=self._usage is not None)

    def completion(self, *, latency_ms: int) -> Completion:
        """Return the finished answer. Raises `UpstreamError` when what came is none."""
        if self.chunks == 0:
            raise self._garbage("no chunk came")
        if self._refused:
            raise UpstreamRefused(detail="refusal or content filter", partial=self.partial())
        if self._finish_reason is None:
            raise UpstreamInterrupted(detail="the stream ended without a finish reason", partial=self.partial())
        if not self._chars:
            raise self._garbage(f"an empty answer, finish reason {self._finish_reason}")
        tokens_in, tokens_out = self._counts()
        return Completion(
            text="".join(self._pieces),
            model=self._model,
            finish_reason=self._finish_reason,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            usage_reported=self._usage is not None,
            ttft_ms=self._ttft_ms or 0,
            latency_ms=latency_ms,
        )

    def _counts(self) -> tuple[int, int]:
        return self._usage or (estimated_tokens(self._prompt_chars), estimated_tokens(self._chars))

    def _object(self, value: object, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._garbage(f"{name} is not an object")
        return value

    def _garbage(self, detail: str) -> UpstreamGarbage:
        return UpstreamGarbage(detail=detail, partial=self.partial())


def storable(text: str) -> str:
    """Return `text` with what no database column holds replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def read_usage(raw: object) -> tuple[int, int] | None:
    """Read a usage object. Counts that are not both positive, or that no column holds, are worth no more than none."""
    if not isinstance(raw, dict):
        return None
    prompt, completion = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int or min(prompt, completion) < 1:
        return None
    return (prompt, completion) if max(prompt, completion) <= _MOST_TOKENS else None
