"""The interface is fixed from the model's answer, and what the task says goes before it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.source.outline import outline
from shared.verification.interface import interface_of, quoted, stated_call


def _parameter(name: str, kind: str = "number") -> dict[str, str]:
    return {"name": name, "type": kind}


def _function(name: str, *parameters: str, returns: str = "number") -> dict[str, Any]:
    return {
        "kind": "function",
        "name": name,
        "parameters": [_parameter(one) for one in parameters],
        "returns": returns,
        "methods": [],
    }


def _stack(method: str = "push") -> dict[str, Any]:
    push = {"name": method, "parameters": [_parameter("item")], "returns": "void"}
    return {
        "kind": "class",
        "name": "Stack",
        "parameters": [_parameter("size")],
        "returns": "void",
        "methods": [push],
    }


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def add(a: number, b: number) -> number"),
        ("typescript", "function add(a: number, b: number): number"),
        ("javascript", "function add(a, b)"),
        ("go", "add(a: number, b: number): number"),
    ],
)
def test_a_function_is_declared_as_its_language_writes_it(language: str, text: str) -> None:
    read = interface_of(_function("add", "a", "b"), task="Add two numbers", language=language)
    assert read is not None
    assert read.text(language) == text


def test_a_class_is_declared_with_its_methods() -> None:
    read = interface_of(_stack(), task="A stack", language="typescript")
    assert read is not None
    assert read.text("typescript") == "class Stack { constructor(size: number); push(item: number): void }"
    assert read.text("python").splitlines() == [
        "class Stack:",
        "    def __init__(self, size: number)",
        "    def push(self, item: number) -> void",
    ]


def test_the_name_that_the_task_writes_as_a_call_is_kept() -> None:
    read = interface_of(_function("toSlug", "text"), task="Write slugify(title).", language="typescript")
    assert read is not None
    assert read.text("typescript") == "function slugify(text: number): number"


def test_parameters_that_the_task_names_replace_those_that_do_not_fit() -> None:
    read = interface_of(_function("limit", "value"), task="Write clamp(x, low, high).", language="javascript")
    assert read is not None
    assert read.text("javascript") == "function clamp(x, low, high)"


@pytest.mark.parametrize(
    ("task", "call"),
    [
        ("Write slugify(title).", ("slugify", ("title",))),
        ("Write f(a: int, b=2)", ("f", ("a", "b"))),
        ("median([1, 2]) returns 1.5", None),
        ("no call at all", None),
        ("a list (of numbers)", None),
    ],
)
def test_only_a_call_of_plain_names_states_an_interface(task: str, call: object) -> None:
    assert stated_call(task) == call


@pytest.mark.parametrize("name", ["", "two words", "a-b", "1st", "f()", "naïve"])
def test_what_cannot_be_a_name_is_no_interface(name: str) -> None:
    assert interface_of(_function(name, "a"), task="x", language="python") is None


def test_a_class_without_methods_and_two_parameters_of_one_name_are_no_interface() -> None:
    assert interface_of({**_stack(), "methods": []}, task="x", language="python") is None
    assert interface_of(_function("f", "a", "a"), task="x", language="python") is None


@pytest.mark.parametrize(
    ("language", "word"), [("python", "lambda"), ("typescript", "delete"), ("javascript", "class")]
)
def test_a_reserved_word_becomes_a_name(language: str, word: str) -> None:
    read = interface_of(_function(word, "a"), task="x", language=language)
    assert read is not None
    assert read.name == f"{word}_"


def test_self_is_no_parameter_and_types_cannot_break_out_of_the_line() -> None:
    answer = _function("f", "self", "a", returns="int\nimport os; `x`")
    read = interface_of(answer, task="x", language="java")
    assert read is not None
    assert read.text("java") == "f(a: number): int import os x"


@pytest.mark.parametrize(
    ("language", "returns", "declared"),
    [
        ("python", "list of str", "def f(a: number)"),
        ("python", "list[str] | None", "def f(a: number) -> list[str] | None"),
        ("typescript", "list of numbers", "function f(a: number)"),
        ("typescript", "Array<[string, number]> | null", "function f(a: number): Array<[string, number]> | null"),
    ],
)
def test_a_type_that_the_language_cannot_read_is_left_out(language: str, returns: str, declared: str) -> None:
    read = interface_of(_function("f", "a", returns=returns), task="x", language=language)
    assert read is not None
    assert read.text(language) == declared


@pytest.mark.parametrize("text", ["", "it's", 'a "quote"', "back\\slash", "näh €", "two\nlines"])
def test_a_quoted_text_is_one_string_in_every_language(text: str) -> None:
    for language in ("python", "javascript", "typescript"):
        assert not outline(f"x = {quoted(text)}", language).fault_lines
