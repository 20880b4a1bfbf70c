"""Foreign chunks of an answer that is handed on: every field is looked at before use, and tokens are counted whatever upstream says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.llm.clients.intake import Intake
from shared.llm.model import UpstreamError, UpstreamGarbage, UpstreamInterrupted
from tests.unit.llm.test_llm_reception import JSON


def intake(*, max_tokens: int | None = 16) -> Intake:
    return Intake(model="asked", prompt_chars=9, max_tokens=max_tokens)


def chunk(text: str | None = None, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}]}


def test_pieces_are_handed_on_and_figures_kept() -> None:
    took = intake()
    assert took.take(chunk("", role="assistant"), at_ms=1) is None
    assert not took.has_output
    first = took.take(chunk("ab"), at_ms=10)
    assert first is not None
    assert first.text == "ab"
    took.take(chunk("cd"), at_ms=20)
    took.take(chunk(finish="stop"), at_ms=30)
    took.take({"choices": [], "model": "served", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}, at_ms=40)
    took.require_complete()
    assert (took.ttft_ms, took.finish_reason, took.model) == (10, "stop", "served")
    assert (took.partial().tokens_in, took.partial().tokens_out, took.partial().usage_reported) == (7, 2, True)


def test_without_usage_we_count_for_ourselves() -> None:
    took = intake()
    took.take(chunk("abcde"), at_ms=1)
    assert (took.partial().tokens_in, took.partial().tokens_out, took.partial().usage_reported) == (3, 2, False)
    assert intake().partial().tokens_in == 0


def test_a_call_and_a_refusal_are_output_too() -> None:
    for delta in ({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}, {"refusal": "no"}):
        took = intake()
        assert took.take(chunk(**delta), at_ms=5) is not None
        assert took.ttft_ms == 5


def test_an_empty_answer_with_a_reason_is_one() -> None:
    took = intake()
    took.take(chunk(finish="stop"), at_ms=1)
    took.require_complete()


def test_an_answer_without_a_reason_to_stop_broke_off() -> None:
    took = intake()
    with pytest.raises(UpstreamGarbage):
        took.require_complete()
    took.take(chunk("ab"), at_ms=1)
    with pytest.raises(UpstreamInterrupted):
        took.require_complete()


def test_what_no_database_holds_is_replaced() -> None:
    took = intake()
    call = {"index": 0, "function": {"name": "f", "arguments": "\x00"}}
    delta = took.take(chunk("a\x00\ud800", tool_calls=[call]), at_ms=1)
    assert delta is not None
    assert delta.text == "a\ufffd\ufffd"
    assert delta.tool_calls[0]["function"]["arguments"] == "\ufffd"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": 1},
        {"refusal": {"x": 1}},
        {"tool_calls": {"x": 1}},
        {"tool_calls": [1]},
        {"tool_calls": [{"index": True}]},
        {"tool_calls": [{"index": -1}]},
        {"tool_calls": [{"function": {"arguments": {}}}]},
        {"tool_calls": [{"x": float("nan")}]},
    ],
)
def test_a_piece_that_makes_no_sense_is_garbage(delta: dict[str, Any]) -> None:
    with pytest.raises(UpstreamGarbage):
        intake().take({"choices": [{"index": 0, "delta": delta}]}, at_ms=1)


def test_far_more_than_was_asked_for_is_garbage() -> None:
    with pytest.raises(UpstreamGarbage):
        intake(max_tokens=1).take(chunk("x" * 10_000), at_ms=1)


@given(st.lists(JSON, max_size=4))
def test_whatever_comes_is_read_or_refused(chunks: list[Any]) -> None:
    took = intake()
    with suppress(UpstreamError):
        for one in chunks:
            took.take(one, at_ms=1)
        took.require_complete()
    assert took.partial().tokens_out >= 0
