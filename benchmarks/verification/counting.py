"""Asks the model directly, and counts what that takes: for the ways that no pipeline stands behind.

What may succeed later is tried again, as the pipelines do: a broken connection is no way's fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from shared.kernel.clock import Clock
from shared.llm.clients.openai import Upstream
from shared.llm.model import ChatMessage, Completion, UpstreamError
from shared.llm.service import ask

_TRIES = 3


class CountingAsker:
    """One model. `tokens_in`, `tokens_out`, `calls`, `spent_s`: since it was made. `seed` is added to whatever seed is asked for."""

    def __init__(self, upstream: Upstream, *, model: str, seed: int, clock: Clock) -> None:
        self._upstream = upstream
        self._model = model
        self._seed = seed
        self._clock = clock
        self._began = clock.monotonic()
        self.tokens_in = self.tokens_out = self.calls = 0

    @property
    def spent_s(self) -> float:
        """Return the seconds since it was made."""
        return self._clock.monotonic() - self._began

    def ask(
        self,
        *,
        system: str,
        user: str,
        schema: dict[str, Any],
        name: str,
        max_tokens: int,
        temperature: Decimal = Decimal(0),
        seed: int | None = None,
    ) -> dict[str, Any]:
        """Return an answer under `schema`; an unreadable one is asked for once more. Raises `UpstreamError`."""
        return ask(
            self,
            model=self._model,
            messages=[ChatMessage("system", system), ChatMessage("user", user)],
            schema=schema,
            schema_name=name,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=self._seed + (seed or 0),
        ).answer

    def text(self, *, system: str, user: str, max_tokens: int) -> str:
        """Return a plain answer, as the model gives it. Raises `UpstreamError`."""
        messages = [ChatMessage("system", system), ChatMessage("user", user)]
        return self.complete(
            messages=messages, model=self._model, max_tokens=max_tokens, temperature=Decimal(0), seed=self._seed
        ).text

    def complete(self, *, messages: Sequence[ChatMessage], **request: Any) -> Completion:
        """Make one call and count it. Raises `UpstreamError` where that cannot succeed, or did not in three tries."""
        for left in reversed(range(_TRIES)):
            try:
                completion = self._upstream.complete(messages=messages, **request)
                break
            except UpstreamError as error:
                if not error.retryable or not left:
                    raise
        self.calls += 1
        self.tokens_in += completion.tokens_in
        self.tokens_out += completion.tokens_out
        return completion
