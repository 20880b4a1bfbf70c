"""Asking a model for a document: checked against its schema, and asked again within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from shared.llm.model import ChatMessage, Completion, UnreadableAnswer, UpstreamError, UpstreamTimeout
from shared.llm.schema import parse_answer

_ASK_AGAIN = "Your last answer could not be read. Answer with the JSON document alone, exactly as the schema says."


class Answering(Protocol):
    """What `ask` needs of an upstream; `clients.openai.Upstream` is one."""

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
    ) -> Completion:
        """Ask for one completion."""
        ...


@dataclass(frozen=True)
class Asked:
    """A readable answer, and every completion that it took: all of them cost tokens."""

    answer: dict[str, Any]
    completions: tuple[Completion, ...]

    @property
    def tokens_in(self) -> int:
        """Input tokens of all completions."""
        return sum(completion.tokens_in for completion in self.completions)

    @property
    def tokens_out(self) -> int:
        """Output tokens of all completions."""
        return sum(completion.tokens_out for completion in self.completions)

    @property
    def usage_reported(self) -> bool:
        """False if any of the counts is our estimate."""
        return all(completion.usage_reported for completion in self.completions)


def ask(
    upstream: Answering,
    *,
    model: str,
    messages: Sequence[ChatMessage],
    schema: dict[str, Any],
    max_tokens: int,
    schema_name: str = "answer",
    budget_attempts: int = 2,
    temperature: Decimal | None = Decimal(0),
    on_token: Callable[[str], None] | None = None,
    seed: int | None = None,
    deadline_s: float | None = None,
) -> Asked:
    """Return an answer valid under `schema`, asking at most `budget_attempts` times.

    Only an unreadable answer is asked for again, in other words and with another seed; any `UpstreamError` ends it, as
    retrying belongs to the step's owner. Raises `UnreadableAnswer` when the budget is spent. An error's `completions` are
    those already received. `on_token` sees the text of every attempt, and may raise to leave. `deadline_s` covers all
    attempts together.
    """
    received: list[Completion] = []
    for attempt in range(budget_attempts):
        try:
            completion = upstream.complete(
                model=model,
                messages=[*messages, ChatMessage("user", _ASK_AGAIN)] if attempt else messages,
                max_tokens=max_tokens,
                temperature=temperature,
                schema=schema,
                schema_name=schema_name,
                on_token=on_token,
                seed=None if seed is None else seed + attempt,
                deadline_s=_left(deadline_s, received),
            )
            received.append(completion)
            return Asked(parse_answer(completion.text, schema), tuple(received))
        except UpstreamError as error:
            error.completions = tuple(received)
            if not isinstance(error, UnreadableAnswer) or attempt == budget_attempts - 1:
                raise
    raise ValueError("budget_attempts is at least 1")


def _left(deadline_s: float | None, received: Sequence[Completion]) -> float | None:
    if deadline_s is None:
        return None
    left_s = deadline_s - sum(completion.latency_ms for completion in received) / 1000
    if left_s <= 0:
        raise UpstreamTimeout(detail="no time left to ask again")
    return left_s
