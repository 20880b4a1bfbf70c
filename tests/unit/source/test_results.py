"""Which functions give their caller nothing."""

from __future__ import annotations

import time

import pytest

from shared.source.results import Results, results


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def f(a):\n    a.sort()\n"),
        ("python", "def f(a):\n    if a:\n        return\n    return None\n"),
        ("python", "def f(a):\n    def g():\n        return 1\n    print(g())\n"),
        ("python", "class A:\n    async def f(self):\n        self.x = 1\n"),
        ("python", "def f(a):\n    return print(a)\n"),
        ("javascript", "function f(a) { a.map((x) => { return x; }); }"),
        ("javascript", "exports.f = (a) => { return; };"),
        ("javascript", "const f = (a) => console.log(a);"),
        ("typescript", "class A { f(a: number): void { this.a = a; } }"),
    ],
)
def test_a_function_without_a_value_of_its_own_is_silent(language: str, code: str) -> None:
    assert "f" in results(code, language).silent


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def f(a):\n    if a:\n        return a\n"),
        ("python", "def f(a):\n    yield a\n"),
        ("python", "f = lambda a: a\n"),
        ("python", "class A:\n    def f(self): pass\nclass B:\n    def f(self): return 1\n"),
        ("javascript", "const f = (a) => a;"),
        ("javascript", "function* f() { yield 1; }"),
        ("typescript", "class A { get f(): number { return 1; } }"),
    ],
)
def test_a_function_that_gives_a_value_is_not(language: str, code: str) -> None:
    assert results(code, language).silent == frozenset()


def test_what_raises_and_what_yields_is_known() -> None:
    found = results("def f(a):\n    raise ValueError\n\nasync def g():\n    yield 1\n", "python")
    assert found == Results(frozenset({"f"}), frozenset({"f"}), frozenset({"g"}))
    assert results("func f() {}", "go") == results("f", "cobol") == Results()


def test_functions_within_functions_cost_no_more_than_their_text() -> None:
    began = time.perf_counter()
    results("x=>" * 20_000, "javascript")
    assert time.perf_counter() - began < 5
