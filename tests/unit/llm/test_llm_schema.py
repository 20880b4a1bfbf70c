"""Reading a model's answer: whatever is not exactly the document asked for is unreadable."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.errors import LucidError
from shared.llm.model import UnreadableAnswer
from shared.llm.schema import MAX_ANSWER_CHARS, parse_answer

EVALUATION = {
    "type": "object",
    "properties": {"accepted": {"type": "boolean"}, "reason": {"type": "string", "maxLength": 40}},
    "required": ["accepted", "reason"],
    "additionalProperties": False,
}


def test_a_valid_answer_is_returned_as_it_is() -> None:
    text = ' {"accepted": true, "reason": "fine"}\n'
    assert parse_answer(text, EVALUATION) == {"accepted": True, "reason": "fine"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"accepted"',
        '```json\n{"accepted": true, "reason": "fine"}\n```',
        'Sure: {"accepted": true, "reason": "fine"}',
        '{"accepted": true, "reason": "fine"} {}',
        '{"accepted": true, "reason": "fi',
        '{"accepted": false, "accepted": true, "reason": "twice"}',
        '{"accepted": true}',
        '{"accepted": "true", "reason": "fine"}',
        '{"accepted": 1, "reason": "fine"}',
        '{"accepted": true, "reason": "fine", "extra": 1}',
        '{"accepted": true, "reason": "' + "x" * 41 + '"}',
        '{"accepted": true, "reason": "nul \\u0000"}',
        '{"accepted": true, "reason": "half \\ud800"}',
        '{"accepted": true, "reason": "fine"}' + " " * MAX_ANSWER_CHARS,
    ],
)
def test_anything_else_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableAnswer):
        parse_answer(text, EVALUATION)


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "1e999", "1" * 30, "9" * 5000, "[" * 100_000, '{"a":' * 70 + "1" + "}" * 70],
)
def test_a_value_that_no_column_holds_is_unreadable(value: str) -> None:
    with pytest.raises(UnreadableAnswer):
        parse_answer('{"value": ' + value + "}", {"type": "object"})


def test_the_shown_message_and_the_detail_hold_none_of_the_answers_words() -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        parse_answer('{"accepted": "sesame", "reason": "fine"}', EVALUATION)
    assert isinstance(caught.value, LucidError)
    assert "sesame" not in caught.value.message + caught.value.detail
    assert "accepted" in caught.value.detail
    assert not caught.value.retryable


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_unreadable_answer(text: str) -> None:
    try:
        parsed = parse_answer(text, {"type": "object"})
    except UnreadableAnswer:
        return
    assert json.loads(text) == parsed
