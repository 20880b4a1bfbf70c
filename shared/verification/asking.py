"""The model behind a stage: what it is asked costs tokens and time, is counted, and ends when the stage has to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from shared.kernel.failpoints import effect as failpoint
from shared.llm.model import (
    ChatMessage,
    Completion,
    UpstreamError,
    UpstreamRateLimited,
    estimated_tokens,
)
from shared.llm.service import ask
from shared.verification.model import Tally
from shared.verification.store import Spent
from shared.verification.tools import FaultCode, StageFailed
from shared.verification.upstreams import Prices
from shared.work.model import RetryLater

_RETRY_S = 2.0
_MOST_RETRY_S = 60
_NAME_CHARS = 200


class ModelApi(Protocol):
    """A model API whose calls can be called off; `shared.llm.clients.openai.Upstream` is one."""

    def complete(
        self,
        *,
        model: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        temperature: Decimal | None = None,
        schema: dict[str, Any] | None = None,
        schema_name: str = "answer",
        on_token: Callable[[str], None] | None = None,
        seed: int | None = None,
        deadline_s: float | None = None,
        check: Callable[[], None] | None = None,
    ) -> Completion:
        """Ask for one completion."""
        ...


class StageAsker:
    """Asks for one stage; `spent` is what that has taken so far.

    `check` raises when the stage is to stop; `left_s` tells how many seconds it still has.
    """

    def __init__(
        self,
        model_api: ModelApi,
        *,
        model: str,
        prices: Prices,
        check: Callable[[], None],
        left_s: Callable[[], float],
    ) -> None:
        self._model_api = model_api
        self._model = model
        self._prices = prices
        self._check = check
        self._left_s = left_s
        self.spent = Spent()
        self._answered = 0
        self._unanswered: StageFailed | None = None

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
        """Ask as `tools.Asker` says."""
        self._check()
        try:
            with failpoint("llm.complete"):
                asked = ask(
                    self,
                    model=self._model,
                    messages=[ChatMessage("system", system), ChatMessage("user", user)],
                    schema=schema,
                    schema_name=name,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    seed=seed,
                    deadline_s=self._left_s(),
                )
        except UpstreamRateLimited as error:
            raise RetryLater(error.message, delay_s=min(error.retry_after_s or _RETRY_S, _MOST_RETRY_S)) from error
        except UpstreamError as error:
            self._check()  # what ends the stage says why better than the call that it cut short
            if error.retryable:
                raise RetryLater(error.message, delay_s=_RETRY_S) from error
            self._unanswered = StageFailed(FaultCode.UPSTREAM_ERROR, error.message)
            raise self._unanswered from error
        self._answered += 1
        return asked.answer

    def require_answered(self) -> None:
        """Raise `StageFailed` where the model was asked and answered nothing.

        A stage may do without one answer of several. Where it got none at all, what it gives does not rest on what it claims to.
        """
        if self._unanswered is not None and not self._answered:
            raise self._unanswered

    def complete(self, *, messages: Sequence[ChatMessage], **request: Any) -> Completion:
        """Make one call, and count it whatever becomes of it."""
        prompt_chars = sum(len(message.content) for message in messages)
        seen_chars = 0

        def look(text: str) -> None:
            nonlocal seen_chars
            seen_chars += len(text)
            self._check()

        try:
            completion = self._model_api.complete(messages=messages, check=self._check, **{**request, "on_token": look})
        except UpstreamError as error:
            self._count(error.partial.tokens_in, error.partial.tokens_out)
            raise
        except Exception:  # called off: what had come by then was generated all the same
            self._count(estimated_tokens(prompt_chars), estimated_tokens(seen_chars))
            raise
        self._count(completion.tokens_in, completion.tokens_out)
        ttft_ms = completion.ttft_ms if self.spent.ttft_ms is None else self.spent.ttft_ms
        self.spent = replace(self.spent, ttft_ms=ttft_ms, model=completion.model[:_NAME_CHARS])
        return completion

    def _count(self, tokens_in: int, tokens_out: int) -> None:
        before = self.spent.tally
        tokens_in, tokens_out = before.tokens_in + tokens_in, before.tokens_out + tokens_out
        tally = Tally(
            calls=before.calls + 1,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_microusd=self._prices.cost_microusd(tokens_in, tokens_out),
        )
        self.spent = replace(self.spent, tally=tally)
