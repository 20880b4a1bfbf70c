"""Asking again within a budget, against a working stand-in of the port: a list of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared.llm.model import ChatMessage, Completion, UnreadableAnswer, UpstreamError, UpstreamTimeout
from shared.llm.service import ask

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
PROMPT = [ChatMessage("user", "is it?")]


class Script:
    """Answers with the next of its texts, or raises the next error; remembers what it was asked."""

    def __init__(self, *answers: str | UpstreamError, latency_ms: int = 10) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.latency_ms = latency_ms

    def complete(self, *, messages: Sequence[ChatMessage], **options: Any) -> Completion:
        self.asked.append({"messages": list(messages), **options})
        answer = self.answers.pop(0)
        if isinstance(answer, UpstreamError):
            raise answer
        return Completion(answer, "m", "stop", 10, 5, len(self.asked) == 1, 1, self.latency_ms)


def test_a_readable_answer_is_asked_for_once() -> None:
    script = Script('{"ok": true}')
    asked = ask(script, model="m", messages=PROMPT, schema=SCHEMA, max_tokens=9, seed=7)
    assert asked.answer == {"ok": True}
    assert (asked.tokens_in, asked.tokens_out, asked.usage_reported) == (10, 5, True)
    assert script.asked[0]["messages"] == PROMPT
    assert script.asked[0]["schema"] == SCHEMA


def test_an_unreadable_answer_is_asked_for_again_and_both_are_counted() -> None:
    script = Script("no", '{"ok": false}')
    asked = ask(script, model="m", messages=PROMPT, schema=SCHEMA, max_tokens=9, seed=7)
    assert asked.answer == {"ok": False}
    assert (asked.tokens_in, asked.tokens_out, asked.usage_reported) == (20, 10, False)
    assert [one["seed"] for one in script.asked] == [7, 8]
    assert len(script.asked[1]["messages"]) == len(PROMPT) + 1


def test_a_spent_budget_is_an_unreadable_answer_that_carries_what_it_cost() -> None:
    script = Script("no", "no", '{"ok": true}')
    with pytest.raises(UnreadableAnswer) as caught:
        ask(script, model="m", messages=PROMPT, schema=SCHEMA, max_tokens=9)
    assert len(script.asked) == 2
    assert [completion.tokens_out for completion in caught.value.completions] == [5, 5]


def test_an_upstream_failure_is_not_tried_again_here_and_carries_the_earlier_cost() -> None:
    script = Script("no", UpstreamTimeout(), '{"ok": true}')
    with pytest.raises(UpstreamTimeout) as caught:
        ask(script, model="m", messages=PROMPT, schema=SCHEMA, max_tokens=9, budget_attempts=3)
    assert len(script.asked) == 2
    assert len(caught.value.completions) == 1


def test_one_deadline_covers_all_attempts() -> None:
    script = Script("no", "no", "no", latency_ms=600)
    with pytest.raises(UpstreamTimeout) as caught:
        ask(script, model="m", messages=PROMPT, schema=SCHEMA, max_tokens=9, budget_attempts=5, deadline_s=1.0)
    assert [one["deadline_s"] for one in script.asked] == pytest.approx([1.0, 0.4])
    assert len(caught.value.completions) == 2
