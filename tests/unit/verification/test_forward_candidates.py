"""Which of a model's tests are usable, what is special about their inputs, and how claims are worded and weighed."""

from __future__ import annotations

import pytest

from shared.sandbox.model import Language, Probe
from shared.verification import prompts
from shared.verification.candidates import candidates, is_expression
from shared.verification.claims import executed, numbered, untestable
from shared.verification.derivations import Settled
from shared.verification.items import Category, Severity
from shared.verification.literals import arguments
from shared.verification.rulings import Basis
from shared.verification.traits import Trait, odd_kinds, outside, traits, unspoken
from shared.verification.units import Unit, units
from shared.verification.variations import variations

_UNIT = Unit("f", False, "def f(items, size):", "def f(items, size): ...", ("items", "size"), (), 1, 2)


def _read(*tests: tuple[str, str], language: Language = Language.PYTHON, context: str | None = None) -> list[Probe]:
    answer = {"tests": [f"{call} == {expected}" for call, expected in tests]}
    return list(candidates(answer, _UNIT, language=language, context=context))


def test_calls_that_do_not_parse_or_call_something_else_are_dropped() -> None:
    assert _read(
        ("f([1], 2", "1"), ("g([1])", "1"), ("x = f([1])", "1"), ("f([1], 1)", "[[1]]"), ("f ([1],1)", "2")
    ) == [Probe(call="f([1], 1)", expected="[[1]]")]


@pytest.mark.parametrize(
    "text",
    [
        "assert f([1], 1) == [1]",
        "f([1], 1) === [1];",
        "f([1], 1) is [1]",
        "f([1], 1) -> [1]",
        "f([1], 1) returns [1]",
    ],
)
def test_an_assertion_is_read_in_any_wording(text: str) -> None:
    assert candidates({"tests": [text]}, _UNIT, language=Language.PYTHON, context=None) == (
        Probe(call="f([1], 1)", expected="[1]"),
    )


@pytest.mark.parametrize(
    "text", ["raises ValueError", "throws a ValueError", "== ValueError('no')", "== raises ValueError"]
)
def test_an_expected_error_is_read_in_any_wording(text: str) -> None:
    found = candidates({"tests": [f"f([1], 1) {text}"]}, _UNIT, language=Language.PYTHON, context=None)
    assert found == (Probe(call="f([1], 1)", raises="ValueError"),)


def test_an_expected_value_that_is_none_is_left_out_and_the_call_kept() -> None:
    assert _read(("f([1], 1)", "items"), ("f([2], 1)", "the list, cut")) == [
        Probe(call="f([1], 1)"),
        Probe(call="f([2], 1)"),
    ]


def test_each_value_in_a_sequence_of_method_calls_is_a_probe_of_its_own() -> None:
    (stack,) = units(
        "class Stack:\n    def push(self, x): ...\n    def pop(self): ...\n    def _hidden(self): ...\n", "python"
    )

    def read(*calls: str, language: Language = Language.PYTHON) -> list[Probe]:
        answer = {"tests": [{"arguments": "(3)", "calls": list(calls)}]}
        return list(candidates(answer, stack, language=language, context=None))

    made = [Probe(call="subject.pop()", expected="2", setup="subject = Stack(3)\nsubject.push(1)")]
    assert read("push(1)", "pop() == 2") == read("Stack()", "s.push(1);", "await s.pop() == 2") == made
    assert (
        read("push(1)", "pop()", language=Language.TYPESCRIPT)[0].setup
        == "const subject = new Stack(3);\nsubject.push(1);"
    )
    assert [probe.expected for probe in read("push(1)", "pop() == 1", "pop() == 2")] == ["1", "2"]
    assert [probe.raises for probe in read("pop() raises IndexError", "push(1) == 1")] == ["IndexError"]
    assert read("push(1)", "_hidden()") == read("push(1", "pop()") == []


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (Language.TYPESCRIPT, "class Stack {\n  push(x) { }\n  get size() { return 0; }\n}\n"),
        (Language.PYTHON, "class Stack:\n    def push(self, x): ...\n    @property\n    def size(self): ...\n"),
    ],
)
def test_an_accessor_is_read_and_not_called(language: Language, code: str) -> None:
    (stack,) = units(code, language)
    equals = "==" if language is Language.PYTHON else "==="
    answer = {
        "tests": [{"arguments": "", "calls": ["push(1)", f"size() {equals} 1", f"size {equals} 1", "push", "push(2)"]}]
    }
    assert [probe.call for probe in candidates(answer, stack, language=language, context=None)] == ["subject.size"] * 2


def test_a_second_derivation_of_a_class_is_told_its_methods_and_no_body() -> None:
    (stack,) = units("class Stack {\n  push(x) { this.n = 1; }\n  get size() { return 0; }\n}\n", "javascript")
    _, told = prompts.reference(stack, language="javascript", context=None, calls=(), number=0)
    assert told == "Methods, each to be written with its body: push(x); get size().\nSignature:\nclass Stack {"


def test_inputs_outside_of_the_contract_go_where_enough_others_remain() -> None:
    usual = [("f([1], 1)", "1"), ("f([2], 1)", "1"), ("f([3], 1)", "1")]
    assert len(_read(*usual, ("f(None, 1)", "None"), ("f('ab', 1)", "1"))) == 3
    assert len(_read(*usual, ("f(None, 1)", "None"), context="None gives None")) == 4
    assert len(_read(usual[0], ("f(None, 1)", "None"))) == 2


def test_script_values_are_respelled_and_parsed() -> None:
    assert _read(("f([1], 1)", "None;"), language=Language.TYPESCRIPT) == [Probe(call="f([1], 1)", expected="null")]
    assert is_expression("new Set([1, 2])", Language.JAVASCRIPT)
    assert is_expression("(a) => ({ b: a })", Language.TYPESCRIPT)
    assert not is_expression("return 3", Language.JAVASCRIPT)


def test_arguments_are_those_of_the_last_call() -> None:
    assert arguments("f([1, 2], 'a, b', {'k': (1, 2)})") == ("[1, 2]", "'a, b'", "{'k': (1, 2)}")
    assert arguments("Stack([1]).pop()") == ()
    assert arguments("f(1) + 1") is None


def test_special_inputs_are_known_and_the_context_may_speak_of_them() -> None:
    assert traits("f([], None, -1, 0, 5, [None])") == {Trait.EMPTY, Trait.NOTHING, Trait.NEGATIVE, Trait.ZERO}
    assert traits("f([1], 'a', 2.5)") == frozenset()
    assert unspoken(frozenset({Trait.EMPTY}), "Returns 0 for an empty list") == frozenset()
    assert unspoken(frozenset({Trait.EMPTY}), "Returns the median") == {Trait.EMPTY}
    assert odd_kinds(["f(1)", "f(2)", "f('x')"]) == {2}


def test_an_ordinary_value_weighs_more_than_an_unusual_input() -> None:
    def weight(call: str, expected: str | None = "1", raises: str | None = None) -> tuple[Category, Severity]:
        claim = executed(_UNIT, Settled(Probe(call, expected, raises), Basis.AGREED, ()), None)
        return claim.category, claim.severity

    assert weight("f([1], 1)") == (Category.CORRECTNESS, Severity.CRITICAL)
    assert weight("f([1], -1)") == (Category.EDGE_CASE, Severity.HIGH)
    assert weight("f([], 1)") == (Category.EDGE_CASE, Severity.MEDIUM)
    assert weight("f(None, 1)") == (Category.TYPE_SAFETY, Severity.LOW)
    assert weight("f([1], 1)", None, "ValueError") == (Category.ERROR_HANDLING, Severity.MEDIUM)


def test_claims_are_numbered_distinct_and_at_most_forty() -> None:
    claims = numbered(untestable(f"claim {number // 2}") for number in range(120))
    assert [claim.id for claim in claims] == [f"CLAIM-{number:03d}" for number in range(1, 41)]


def test_a_model_sees_no_comment_and_a_second_derivation_no_body() -> None:
    code = 'def add(a, b):\n    """Returns the product."""\n    return a - b  # the sum\n'
    (unit,) = units(code, "python")
    assert "product" not in unit.shown
    assert "sum" not in unit.shown
    assert "a - b" in unit.shown
    assert "a - b" not in unit.signature


def test_only_what_stands_at_the_top_is_a_unit() -> None:
    code = (
        "class A:\n    def m(self):\n        return 1\n\ndef f(x):\n    def g(y):\n        return y\n    return g(x)\n"
    )
    assert [(unit.name, unit.methods) for unit in units(code, "python")] == [("A", ("m",)), ("f", ())]
    assert [
        unit.name for unit in units("interface I { a: number }\nexport const h = (x: number) => x;\n", "typescript")
    ] == ["h"]


def test_an_excluded_input_is_outside_though_its_word_is_there() -> None:
    assert outside(frozenset({Trait.EMPTY}), "the median of a non-empty list") == {Trait.EMPTY}
    assert outside(frozenset({Trait.NEGATIVE, Trait.ZERO}), "two positive numbers") == {Trait.NEGATIVE, Trait.ZERO}
    assert outside(frozenset({Trait.NEGATIVE, Trait.ZERO}), "a non-negative number") == {Trait.NEGATIVE}
    assert outside(frozenset({Trait.NEGATIVE, Trait.ZERO}), "two numbers") == frozenset()


def test_calls_are_varied_by_order_repeats_and_exchanged_arguments() -> None:
    def varied(*calls: str, context: str | None = None) -> list[str]:
        return [probe.call for probe in variations([Probe(call) for call in calls], context)]

    assert varied("median([1, 2, 3])", "median([4, 5, 6, 7])") == ["median([5, 7, 4, 6])", "median([4, 5, 6, 7, 4])"]
    assert varied("clamp(10, 0, 5)", "clamp(-5, -10, 0)") == ["clamp(-5, 0, 5)"]
    assert varied("find([1, 2, 3], 2)", context="a sorted list") == []
    assert varied("find([1, 2, 3], 2)", context="distinct numbers") == ["find([2, 1, 3], 2)"]
    assert varied("g('(x', [3, 2, 1])")[0] == "g('(x', [2, 3, 1])"
    assert varied("f(1)", "f()", "f([") == []
