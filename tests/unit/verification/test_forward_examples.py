"""What counts as an example in the caller's own words, and what stays prose."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sandbox.model import Language
from shared.verification.examples import Example, examples

_NAMES = ["add", "f", "Stack"]


def _read(context: str, language: Language = Language.PYTHON) -> list[tuple[str, str | None, str | None]]:
    return [(found.call, found.expected, found.raises) for found in examples(context, _NAMES, language)]


@pytest.mark.parametrize(
    "context",
    [
        "add(2, 3) returns 5",
        "For example `add(2, 3)` should return `5`.",
        "add(2, 3) == 5",
        "add(2, 3) -> 5.",
        "add(2, 3) → 5, and so on",
        "add(2, 3) is 5",
        "assert add(2, 3) == 5",
        "It adds; so add(2, 3) equals 5!",
        ">>> add(2, 3)\n5\n",
        "expect(add(2, 3)).toBe(5)",
    ],
)
def test_an_example_is_read_however_it_is_put(context: str) -> None:
    assert _read(context) == [("add(2, 3)", "5", None)]


@pytest.mark.parametrize(
    "context",
    [
        "add(a, b) returns the sum",
        "add(2, 3) returns their sum",
        "add(2, 3) is not 6",
        "add(2, 3)",
        "add returns 5",
        "madd(2, 3) returns 5",
        "math.add(2, 3) returns 5",
        "add(2, x) returns 5",
        "add(2, 3 returns 5",
        "add(2, 3) returns 5apples",
        "add(2, 3) would once have returned 5",
    ],
)
def test_prose_is_no_example(context: str) -> None:
    assert _read(context) == []


@pytest.mark.parametrize(
    ("context", "raises"),
    [
        ("f([]) raises ValueError", "ValueError"),
        ("f([]) throws a RangeError.", "RangeError"),
        ("f([]) should raise an error", "*"),
        ("f([]) must throw", "*"),
    ],
)
def test_an_error_can_be_the_example(context: str, raises: str) -> None:
    assert _read(context) == [("f([])", None, raises)]


def test_values_are_spelled_as_the_language_spells_them() -> None:
    assert _read("f(true, 'true') returns [null, false]") == [("f(True, 'true')", "[None, False]", None)]
    assert _read("f(True) returns None", Language.JAVASCRIPT) == [("f(true)", "null", None)]


def test_values_may_hold_commas_brackets_and_quotes() -> None:
    assert _read("""f("a, (b", [1, [2]]) returns {"k": "v, w"}, always""") == [
        ('f("a, (b", [1, [2]])', '{"k": "v, w"}', None)
    ]


def test_each_example_counts_once() -> None:
    assert examples("f(1) returns 2. f(1) returns 2", _NAMES, Language.PYTHON) == (Example("f(1)", "2", None),)


def test_without_a_context_there_are_none() -> None:
    assert examples(None, _NAMES, Language.PYTHON) == ()


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="add(f)[]{}'\"`,.:= \n\\->1returns", max_size=120))
def test_no_text_makes_the_reader_stumble(context: str) -> None:
    for found in examples(context, _NAMES, Language.TYPESCRIPT):
        assert (found.expected is None) != (found.raises is None)
