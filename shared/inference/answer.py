"""An answer as it grows: its pieces put together, redacted where the policy has it so. One instance an attempt at an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.inference.model import Reply
from shared.inference.redaction import StreamRedactor
from shared.llm.model import Delta

_TEXT = -1
_REFUSAL = -2


class Answer:
    """Collects pieces. With `redacts`, what leaves and what is kept is searched for personal data first.

    Texts, refusal and the arguments of each call are searched as texts of their own.
    """

    def __init__(self, *, redacts: bool) -> None:
        self._redactors: dict[int, StreamRedactor] | None = {} if redacts else None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: dict[str, list[Any]] = {}

    def take(self, delta: Delta) -> Delta | None:
        """Add a piece and return what of it may leave now; None where that is nothing. Raises `RedactionFailed`."""
        if self._redactors is not None:
            delta = self._redacted(self._redactors, delta)
        self._add(delta)
        return delta if delta.text or delta.tool_calls or delta.refusal or delta.logprobs else None

    def finish(self) -> Delta:
        """Return what was held back. Raises `RedactionFailed`."""
        if not self._redactors:
            return Delta()
        text, refusal, calls = "", "", []
        for key, redactor in self._redactors.items():
            rest = redactor.flush()
            if key == _TEXT:
                text = rest
            elif key == _REFUSAL:
                refusal = rest
            elif rest:
                calls.append({"index": key, "function": {"arguments": rest}})
        held = Delta(text, tuple(calls), refusal or None)
        self._add(held)
        return held

    def reply(self) -> Reply:
        """Return all that has left so far, put together."""
        return Reply(
            text="".join(self._text),
            tool_calls=tuple(self._calls[index] for index in sorted(self._calls)),
            refusal="".join(self._refusal) or None,
            logprobs=dict(self._logprobs) or None,
        )

    def _add(self, delta: Delta) -> None:
        self._text.append(delta.text)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for piece in delta.tool_calls:
            self._add_call(piece)
        for name, entries in (delta.logprobs or {}).items():
            if isinstance(entries, list):
                self._logprobs.setdefault(name, []).extend(entries)

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        call = self._calls.setdefault(
            piece.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = piece.get("id") or call["id"]
        told = piece.get("function") or {}
        function = call["function"]
        function["name"] = told.get("name") or function["name"]
        function["arguments"] += told.get("arguments") or ""

    def _redacted(self, redactors: dict[int, StreamRedactor], delta: Delta) -> Delta:
        def feed(key: int, text: str) -> str:
            return redactors.setdefault(key, StreamRedactor()).feed(text)

        calls = []
        for piece in delta.tool_calls:
            function = dict(piece.get("function") or {})
            if function.get("arguments"):
                function["arguments"] = feed(piece.get("index", 0), function["arguments"])
            calls.append({**piece, "function": function})
        text = feed(_TEXT, delta.text) if delta.text else ""
        refusal = feed(_REFUSAL, delta.refusal) if delta.refusal else None
        return Delta(text, tuple(calls), refusal)  # log probabilities repeat the text, so they stay here
