"""What comes of an answer that is handed on piece by piece. Upstream's JSON is taken as foreign: every field is looked at before use.

Beside a `Reception`, which collects a document, this keeps figures only: the pieces belong to whoever they are handed to.
An empty answer is one, too, if the model gave a reason to stop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.llm.clients.reception import read_usage, storable
from shared.llm.model import Delta, Partial, UpstreamGarbage, UpstreamInterrupted, estimated_tokens

MOST_CHARS = 4_000_000
"""Of an answer that no `max_tokens` bounds."""
_MOST_CHARS_PER_TOKEN = 64
_SLACK_CHARS = 4096
_LOGPROBS_TO_TEXT = 64
"""So many characters of log probabilities are allowed for one of text."""
_NAME_CHARS = 200
_REASONING_FIELDS = ("reasoning_content", "reasoning")


class Intake:
    """Reads chunks. `begun`: the model is at work; `has_output`: a piece was handed on; `finished`: it gave a reason to stop.

    `ttft_ms` counts from the call to the first piece.
    """

    def __init__(self, *, model: str, prompt_chars: int, max_tokens: int | None) -> None:
        self.model = model
        self.finish_reason: str | None = None
        self.ttft_ms: int | None = None
        self.chunks = 0
        self.begun = False
        self._prompt_chars = prompt_chars
        self._most_chars = MOST_CHARS if max_tokens is None else max_tokens * _MOST_CHARS_PER_TOKEN + _SLACK_CHARS
        self._chars = 0
        self._usage: tuple[int, int] | None = None

    @property
    def finished(self) -> bool:
        """Whether a finish reason has come; only the usage may still follow."""
        return self.finish_reason is not None

    @property
    def has_output(self) -> bool:
        """Whether a piece of the answer has come."""
        return self.ttft_ms is not None

    def take(self, chunk: object, *, at_ms: int) -> Delta | None:
        """Take one chunk and return what it adds to the answer, if anything. Raises `UpstreamGarbage`."""
        self.chunks += 1
        fields = self._object(chunk, "chunk")
        if isinstance(fields.get("model"), str):
            self.model = storable(fields["model"][:_NAME_CHARS])
        self._usage = read_usage(fields.get("usage")) or self._usage
        choices = fields.get("choices")
        if choices is None or choices == []:
            return None
        if not isinstance(choices, list):
            raise self._garbage("choices is not a list")
        return self._take_choice(self._object(choices[0], "choice"), at_ms)

    def require_complete(self) -> None:
        """Raise `UpstreamError` where what came is no answer."""
        if self.chunks == 0:
            raise self._garbage("no chunk came")
        if self.finish_reason is None:
            raise UpstreamInterrupted(detail="the stream ended without a finish reason", partial=self.partial())

    def partial(self) -> Partial:
        """Return the counts of what has come so far: upstream's, else our estimate."""
        if self._usage is not None:
            return Partial("", *self._usage, usage_reported=True)
        if not self.has_output:
            return Partial()
        return Partial("", estimated_tokens(self._prompt_chars), estimated_tokens(self._chars))

    def _take_choice(self, choice: dict[str, Any], at_ms: int) -> Delta | None:
        delta = self._object(choice.get("delta") or {}, "delta")
        reason = choice.get("finish_reason")
        text, refusal = delta.get("content") or "", delta.get("refusal") or None
        calls, logprobs = delta.get("tool_calls") or [], choice.get("logprobs") or None
        if not (isinstance(text, str) and isinstance(refusal, str | None) and isinstance(reason, str | None)):
            raise self._garbage("content, refusal or finish_reason is not a string")
        if not (isinstance(calls, list) and isinstance(logprobs, dict | None)):
            raise self._garbage("tool_calls is not a list, or logprobs not an object")
        self.finish_reason = storable(reason[:_NAME_CHARS]) if reason else self.finish_reason
        is_reasoning = any(delta.get(name) for name in _REASONING_FIELDS)
        self.begun = self.begun or bool(text or refusal or calls or reason or is_reasoning)
        if not (text or refusal or calls or logprobs):
            return None
        if self.ttft_ms is None:
            self.ttft_ms = at_ms
        self._chars += len(text) + len(refusal or "")
        made = Delta(
            storable(text),
            tuple(self._call(call) for call in calls),
            None if refusal is None else storable(refusal),
            None if logprobs is None else self._logprobs(logprobs),
        )
        if self._chars > self._most_chars:
            raise self._garbage("far more text than max_tokens allows")
        return made

    def _logprobs(self, raw: dict[str, Any]) -> Mapping[str, Any]:
        made, size = self._clean(raw)
        self._chars += size // _LOGPROBS_TO_TEXT
        return made

    def _call(self, raw: object) -> Mapping[str, Any]:
        """Return a piece of a tool call, whose text counts as the answer's."""
        call, _ = self._clean(self._object(raw, "tool call"))
        function = self._object(call.get("function") or {}, "function")
        named = [call.get("id"), call.get("type"), function.get("name"), function.get("arguments")]
        index = call.get("index", 0)
        if not all(isinstance(text, str | None) for text in named) or type(index) is not int or not 0 <= index < 1000:
            raise self._garbage("a tool call is malformed")
        self._chars += sum(len(text) for text in named if text)
        return call

    def _clean(self, value: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Return an object whose strings a database can hold, and how long it is as JSON."""
        try:
            cleaned: dict[str, Any] = _cleaned(value)
            return cleaned, len(json.dumps(cleaned, allow_nan=False))
        except (ValueError, RecursionError) as error:
            raise self._garbage("not a number, or nested too deeply") from error

    def _object(self, value: object, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._garbage(f"{name} is not an object")
        return value

    def _garbage(self, detail: str) -> UpstreamGarbage:
        return UpstreamGarbage(detail=detail, partial=self.partial())


def _cleaned(member: Any) -> Any:
    if isinstance(member, str):
        return storable(member)
    if isinstance(member, dict):
        return {storable(name): _cleaned(inner) for name, inner in member.items()}
    return [_cleaned(inner) for inner in member] if isinstance(member, list) else member
