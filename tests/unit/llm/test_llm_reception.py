"""Foreign chunks: every field is looked at before use, and tokens are counted whatever upstream says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.llm.clients.reception import Reception
from shared.llm.model import UpstreamError, UpstreamGarbage, UpstreamInterrupted, UpstreamRefused, estimated_tokens

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "usage", "finish_reason", "model", "prompt_tokens", "x"]),
            inner,
        )
    ),
    max_leaves=12,
)


def reception(*, prompt_chars: int = 9, max_tokens: int = 16) -> Reception:
    return Reception(model="asked", prompt_chars=prompt_chars, max_tokens=max_tokens)


def chunk(text: str | None = None, *, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **fields}


def test_text_usage_and_times_are_put_together() -> None:
    received = reception()
    received.take(chunk("", model="served"), at_ms=5)
    assert received.take(chunk("ab"), at_ms=10) == "ab"
    received.take(chunk("cde", finish="stop"), at_ms=20)
    received.take({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}, at_ms=30)
    completion = received.completion(latency_ms=40)
    assert (completion.text, completion.model, completion.finish_reason) == ("abcde", "served", "stop")
    assert (completion.tokens_in, completion.tokens_out, completion.usage_reported) == (7, 2, True)
    assert (completion.ttft_ms, completion.latency_ms) == (10, 40)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "7",
        {},
        {"prompt_tokens": 7},
        {"prompt_tokens": 7, "completion_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": True},
        {"prompt_tokens": 7.0, "completion_tokens": 2.0},
    ],
)
def test_usage_that_makes_no_sense_is_replaced_by_our_own_count(usage: Any) -> None:
    received = reception(prompt_chars=9)
    received.take(chunk("abcde", finish="stop", usage=usage), at_ms=1)
    completion = received.completion(latency_ms=1)
    assert (completion.tokens_in, completion.tokens_out, completion.usage_reported) == (3, 2, False)


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_our_own_count_is_a_quarter_rounded_up(characters: int, tokens: int) -> None:
    assert estimated_tokens(characters) == tokens


def test_what_no_column_can_hold_is_replaced() -> None:
    received = reception()
    assert received.take(chunk("a\x00b\ud800c"), at_ms=1) == "a�b�c"


def test_an_answer_far_beyond_max_tokens_is_garbage() -> None:
    received = reception(max_tokens=1)
    with pytest.raises(UpstreamGarbage):
        received.take(chunk("x" * 5000), at_ms=1)


@pytest.mark.parametrize("bad", [1, "x", [], {"choices": 1}, {"choices": [1]}, {"choices": [{"delta": 1}]}, chunk(7)])  # type: ignore[arg-type]
def test_a_chunk_of_another_shape_is_garbage(bad: object) -> None:
    with pytest.raises(UpstreamGarbage):
        reception().take(bad, at_ms=1)


def test_a_stream_that_never_finished_is_an_interruption_with_what_came() -> None:
    received = reception()
    received.take(chunk("abcde"), at_ms=1)
    with pytest.raises(UpstreamInterrupted) as caught:
        received.completion(latency_ms=1)
    assert (caught.value.partial.text, caught.value.partial.tokens_in, caught.value.partial.tokens_out) == (
        "abcde",
        3,
        2,
    )


def test_a_filter_and_a_refusal_are_refusals() -> None:
    for refused in (chunk("par", finish="content_filter"), {"choices": [{"delta": {"refusal": "no"}}]}):
        received = reception()
        received.take(refused, at_ms=1)
        with pytest.raises(UpstreamRefused):
            received.completion(latency_ms=1)


def test_reasoning_counts_as_a_beginning_but_not_as_text() -> None:
    received = reception()
    assert received.take({"choices": [{"delta": {"reasoning_content": "hm"}}]}, at_ms=1) == ""
    assert received.begun


@given(st.lists(JSON, max_size=4))
def test_no_chunks_raise_anything_but_an_upstream_error(chunks: list[Any]) -> None:
    received = reception()
    try:
        for one in chunks:
            received.take(one, at_ms=1)
        assert received.completion(latency_ms=1).text
    except UpstreamError:
        pass
