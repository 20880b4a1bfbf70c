"""Text that resembles an example and is none, beside honest neighbours that are: an invented example condemns correct code."""

from __future__ import annotations

import pytest

from shared.sandbox.model import Language
from shared.verification.examples import MOST_EXAMPLES, examples

_NAMES = ["add", "chunk", "power", "cost", "sqrt", "parse", "slugify", "is_even", "code_spans", "f"]
_BOTH = [Language.PYTHON, Language.JAVASCRIPT, Language.TYPESCRIPT]


def _read(context: str, language: Language = Language.PYTHON) -> list[tuple[str, str | None, str | None]]:
    return [(found.call, found.expected, found.raises) for found in examples(context, _NAMES, language)]


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize(
    "context",
    [
        "chunk([1,2,3,4,5], 2) returns 3 chunks",
        "chunk([1,2,3,4,5], 2) returns 3\nchunks.",
        "power(2, 10) is 1,024",
        "power(2, 10) is 1 024",
        "power(2, 10) is 1.024,00",
        "power(2, 10) is 1024 or more",
        "power(2, 10) is 1024 if exact",
        "power(2, 10) is 1024, if exact",
        "power(2, 10) is 1, 2, or 3",
        "power(2, 10) is 1 and 2",
        "power(2, 10) is 5%",
        "power(2, 10) == 1024 * factor",
        "power(2, 10) == 1024 - 1 - 3",
        "power(2, 10) is 2-3",
        "power(2, 10) raises 2 to the tenth",
        "is power(2, 10) == 1024?",
        "sqrt(2) returns 1.414...",
        "sqrt(2) returns 1.414…",
        "sqrt(2) is 1.414 (roughly)",
        "f([1, 2, ...]) returns 3",
        "f([1, 2]) returns [3, …]",
    ],
)
def test_a_value_that_goes_on_is_no_value(context: str, language: Language) -> None:
    assert _read(context, language) == []


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize(
    "context",
    [
        "parse('') raises no error",
        "parse('') raises No error",
        "parse('') throws nothing",
        "parse('') throws Nothing.",
        "parse('') raises neither",
        "parse('') raises an error never",
        "parse('') raises questions",
        "parse('') raises if strict",
        "parse('') raises ValueError only when strict",
        "parse('') raises ValueError or returns None",
        "parse('') never raises an error",
    ],
)
def test_no_error_is_not_any_error(context: str, language: Language) -> None:
    assert _read(context, language) == []


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize(
    "context",
    [
        "Bug: slugify('A B') returns 'a b' instead of 'a-b'",
        "Bug: slugify('A B') returns 'a b'",
        "slugify('A B') returns 'a b' instead of 'a-b'",
        "slugify('A B') returns 'a b' rather than 'a-b'",
        "slugify('A B') returns 'a b', not 'a-b'",
        "slugify('A B') returns 'a b' but should return 'a-b'",
        "slugify('A B') returns 'a b', but should return 'a-b'",
        "slugify('A B') returns 'a b', expected 'a-b'",
        "slugify('A B') returns 'a b', which is wrong.",
        "slugify('A B') returns 'a b' and that is wrong.",
        "slugify('A B') returns 'a b'. This is a bug.",
        "slugify('A B') returns 'a b'. It should return 'a-b'.",
        "slugify('A B') returns 'a b'.\nExpected: 'a-b'",
        "slugify('A B') returns 'a b'. That isn't right.",
        "slugify('A B') == 'a b'  # wrong",
        "slugify('A B') == 'a b'  // should be 'a-b'",
        "slugify('A B') currently returns 'a b'",
        "Currently slugify('A B') returns 'a b'",
        "Currently:\n\n- slugify('A B') returns 'a b'",
        "## Actual behaviour\n\nslugify('A B') returns 'a b'",
        "Known bugs:\n>>> slugify('A B')\n'a b'\n",
        "It is not true that slugify('A B') is 'a b'",
        "It is not true that\nslugify('A B') is 'a b'",
        "Old: slugify('A B') returns 'a b'",
        "This must not happen: slugify('A B') returns 'a b'",
        "slugify('A B') should not return 'a b'",
        "It shouldn't be that slugify('A B') is 'a b'",
    ],
)
def test_what_the_words_around_it_take_back_is_no_example(context: str, language: Language) -> None:
    assert _read(context, language) == []


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize(
    "context",
    [
        "assert not is_even(3) == True",
        "!is_even(3) === true",
        "-add(2, 3) == 5",
        "2 * add(2, 3) == 10",
        "add(1, 1) + add(2, 3) == 7",
        "The length of chunk([1, 2, 3], 2) is 2",
        "The absolute value of add(2, 3) is 5",
        "There are three items in f(1) is 3",
        "typeof add(2, 3) === 'number'",
        "5 == add(2, 3) is true",
        "The sum of add(1, 1) and add(2, 3) is 7",
        "def f() -> None",
        "If f(1) returns 2, nobody is told.",
    ],
)
def test_a_call_that_is_part_of_more_is_no_example(context: str, language: Language) -> None:
    assert _read(context, language) == []


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize(
    "context",
    [
        "add(2, 3) returns 5, and so on",
        "add(2, 3) returns 5 and so on",
        "add(2, 3) returns 5 while f(x) is free",
        "add(2, 3) returns 5 but f(x) is free",
        "add(2, 3) returns 5 because 2 + 3 does",
        "add(2, 3) returns 5; nothing more. It is not for text.",
        "It is not for text. add(2, 3) returns 5.",
        "Numbers are added.\nadd(2, 3) returns 5\n\nNever text.",
        "add(2, 3) == 5  # five",
        "add(2, 3) == 5  // five",
        "(add(2, 3) returns 5)",
        "- **add(2, 3) == 5**",
        "1. `add(2, 3) == 5`",
        "`add(2, 3)` → `5`.",
        '"add(2, 3) is 5", they say',
        "The result of add(2, 3) is 5.",
        "Examples:\n\nadd(2, 3) == 5",
        "expect(add(2, 3)).toBe(5);",
        "assert add(2, 3) == 5, 'not the sum'",
        "The function add(2, 3) returns 5.",
        "add(2, 3) is 5 — plain",
        ">>> add(2, 3)\n5\n",
        "```\n>>> add(2, 3)\n5\n```",
    ],
)
def test_an_honest_neighbour_is_still_read(context: str, language: Language) -> None:
    assert _read(context, language) == [("add(2, 3)", "5", None)]


@pytest.mark.parametrize("language", _BOTH)
def test_several_examples_of_one_sentence_are_read(language: Language) -> None:
    assert _read("add(1, 1) is 2, add(1, 2) is 3 and add(1, 3) is 4.", language) == [
        ("add(1, 1)", "2", None),
        ("add(1, 2)", "3", None),
        ("add(1, 3)", "4", None),
    ]
    assert _read("add(1, 1) == 2\nadd(1, 2) is not 4\nadd(1, 3) == 4", language) == [
        ("add(1, 1)", "2", None),
        ("add(1, 3)", "4", None),
    ]


@pytest.mark.parametrize("language", _BOTH)
def test_denials_in_quotes_deny_nothing(language: Language) -> None:
    assert _read("f('not wrong') returns 'bug', f('x') is 'never'.", language) == [
        ("f('not wrong')", "'bug'", None),
        ("f('x')", "'never'", None),
    ]


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize("value", ["3 * 20", "3 * 20 + 1", "1 / 3", "2 ** 10"])
def test_a_product_of_numbers_is_taken_whole(value: str, language: Language) -> None:
    assert _read(f"cost(3) == {value}", language) == [("cost(3)", value, None)]


def test_two_slashes_divide_in_python_and_begin_a_comment_elsewhere() -> None:
    assert _read("cost(3) == 7 // 2") == [("cost(3)", "7 // 2", None)]
    assert _read("cost(3) == 7 // 2", Language.JAVASCRIPT) == [("cost(3)", "7", None)]


@pytest.mark.parametrize("language", _BOTH)
@pytest.mark.parametrize(
    ("context", "raises"),
    [
        ("f([]) raises a value error.", "*"),
        ("f([]) raises an error", "*"),
        ("`f([])` throws `RangeError`.", "RangeError"),
        ("f([]) raises ValueError: nothing to do", "ValueError"),
        ("f([]) raises ValueError('empty')", "ValueError"),
        ("f([]) raises errors.EmptyList, add(1, 1) is 2", "EmptyList"),
        ("f([]) throws an Error with a message", "*"),
        ("f([]) raises ValueError because it is empty", "ValueError"),
    ],
)
def test_an_error_is_read_with_what_is_said_of_it(context: str, raises: str, language: Language) -> None:
    assert ("f([])", None, raises) in _read(context, language)


@pytest.mark.parametrize("language", _BOTH)
def test_backticks_in_strings_stay_and_those_around_code_go(language: Language) -> None:
    assert _read('code_spans("`x`") == ["x"]', language) == [('code_spans("`x`")', '["x"]', None)]
    assert _read('`code_spans("`x`")` returns `["x"]`.', language) == [('code_spans("`x`")', '["x"]', None)]
    assert _read("f(`x`) returns 1", language) == []


@pytest.mark.parametrize("language", _BOTH)
def test_a_call_of_which_two_things_are_said_is_no_example(language: Language) -> None:
    assert _read("f(1) returns 2. f(2) == 3. f( 1 ) gives 4", language) == [("f(2)", "3", None)]
    assert _read("f(1) returns 2. Later on f(1) raises ValueError.", language) == []
    assert len(_read("f([]) raises ValueError. f([]) raises an error.", language)) == 2


def test_a_key_without_quotes_is_a_value_in_javascript_alone() -> None:
    assert _read("f({a: 1}) returns 2") == []
    assert _read("f({a: 1}) returns 2", Language.JAVASCRIPT) == [("f({a: 1})", "2", None)]


def test_examples_are_found_however_late_they_come() -> None:
    assert _read(f"{'Words. ' * 2_500}add(2, 3) returns 5") == [("add(2, 3)", "5", None)]
    many = " ".join(f"f({number}) returns {number}." for number in range(40))
    assert len(_read(many)) == MOST_EXAMPLES


def test_output_of_several_lines_is_no_value() -> None:
    assert _read(">>> f(1)\n1\n2\n") == []
    assert _read(">>> f(1)\n1\n>>> f(2)\n2\n") == [("f(1)", "1", None), ("f(2)", "2", None)]
