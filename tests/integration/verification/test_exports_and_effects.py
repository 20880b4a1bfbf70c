"""Functions that only an export names, and functions whose work is not in what they return, from real runs of a scripted model's calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.sandbox.service import Sandboxes
from shared.verification.forward import extract, remediate, verify
from shared.verification.items import Claim, Ruling, Submitted, Verdict
from shared.verification.tools import StageFailed, Tools
from tests.integration.sandbox.conftest import sandbox_cache, sandboxes  # noqa: F401 - fixtures are found by their names
from tests.integration.verification.scripted import Script

PASS, FAIL, NOT_APPLICABLE = Ruling.PASS, Ruling.FAIL, Ruling.NOT_APPLICABLE
_SORTED = {"lines": ["def bubble_sort(a):", "    a.sort()"]}
_SORTS = [
    {"tests": ["bubble_sort([3, 1, 2]) == None", "bubble_sort([5, 4]) == None", "bubble_sort([1, 2, 3]) == None"]}
]


@pytest.fixture
def tools_for(sandboxes: Sandboxes) -> Callable[[Any], Tools]:  # noqa: F811 - the fixture
    return lambda asker: Tools(asker, sandboxes, lambda: None)


def _forward(submitted: Submitted, tools: Tools) -> list[tuple[Claim, Verdict]]:
    claims = extract(submitted, tools)
    return list(zip(claims, verify(submitted, claims, tools), strict=True))


def _rulings(found: list[tuple[Claim, Verdict]]) -> set[Ruling]:
    return {verdict.verdict for _, verdict in found}


@pytest.mark.parametrize(
    ("language", "code", "name", "reference"),
    [
        ("javascript", "module.exports = (a, b) => a - b;\n", "default", "function exported(a, b) { return a + b; }"),
        (
            "typescript",
            "export default function (a, b) { return a - b; }\n",
            "default",
            "const exported = (a, b) => a + b;",
        ),
        ("javascript", "exports.add = (a, b) => a - b;\n", "add", "const add = (a, b) => a + b;"),
        ("typescript", "exports.add = (a, b) => a - b;\n", "add", "exports.add = (a, b) => a + b;"),
        (
            "javascript",
            "module.exports = { add(a, b) { return a - b; } };\n",
            "add",
            "function add(a, b) { return a + b; }",
        ),
        ("javascript", "export default { add: (a, b) => a - b };\n", "add", "function add(a, b) { return a + b; }"),
    ],
)
def test_a_bug_in_what_only_an_export_names_is_found(
    tools_for: Callable[[Any], Tools], language: str, code: str, name: str, reference: str
) -> None:
    tests = [f"{name}({a}, {b}) === {a + b}" for a, b in ((2, 3), (4, 6), (5, 5), (7, 1))]
    script = Script(tests=[{"tests": tests}], reference=[{"lines": [reference]}])
    found = _forward(Submitted(code, language, f"Adds two numbers: {name}(2, 2) === 4"), tools_for(script))
    assert _rulings(found[:4]) == {FAIL}
    mended = Submitted(code.replace("a - b", "a + b"), language, "Adds two numbers.")
    assert _rulings(_forward(mended, tools_for(script))) == {PASS}


def test_a_correction_of_an_export_is_run(tools_for: Callable[[Any], Tools]) -> None:
    submitted = Submitted("module.exports = (a, b) => a - b;\n", "javascript", "Adds two numbers")
    remedy = {"title": "Add", "action": "modify", "description": "Add.", "lines": ["module.exports = (a, b) => a + b;"]}
    script = Script(
        tests=[{"tests": [f"default({a}, {b}) === {a + b}" for a, b in ((2, 3), (4, 6), (5, 5), (7, 1))]}],
        reference=[{"lines": ["function exported(a, b) { return a + b; }"]}],
        remedy=[remedy],
    )
    tools = tools_for(script)
    found = _forward(submitted, tools)
    claims, verdicts = [claim for claim, _ in found], [verdict for _, verdict in found]
    assert {one.verified for one in remediate(submitted, claims, verdicts, tools)} == {True}


def test_a_class_of_static_methods_is_run(tools_for: Callable[[Any], Tools]) -> None:
    code = "class Sums {\n  constructor() { throw new Error('no objects'); }\n  static add(a, b) { return a - b; }\n}\n"
    calls = [["add(2, 3) === 5", "add(1, 1) === 2"], ["add(4, 6) === 10", "add(5, 5) === 10"]]
    script = Script(
        tests=[{"tests": [{"arguments": "", "calls": one} for one in calls]}],
        reference=[{"lines": ["class Sums {", "  static add(a, b) { return a + b; }", "}"]}],
    )
    assert _rulings(_forward(Submitted(code, "javascript", "Adds two numbers"), tools_for(script))) == {FAIL}


def test_what_a_function_changes_is_what_it_is_held_to(tools_for: Callable[[Any], Tools]) -> None:
    script = Script(tests=_SORTS, reference=[_SORTED])
    found = _forward(Submitted("def bubble_sort(a):\n    pass\n", "python", "Sorts the list."), tools_for(script))
    assert found[0][0].assertion == "given = [3, 1, 2]; bubble_sort(given); given should be [1, 2, 3]"
    assert [verdict.verdict for _, verdict in found[:3]] == [FAIL, FAIL, PASS]
    assert not any("None" in claim.assertion for claim, _ in found)
    right = Submitted("def bubble_sort(a):\n    a[:] = sorted(a)\n", "python", "Sorts the list.")
    assert _rulings(_forward(right, tools_for(script))) == {PASS}


def test_an_example_of_what_is_done_in_place_is_about_the_argument(tools_for: Callable[[Any], Tools]) -> None:
    script = Script(tests=_SORTS, reference=[_SORTED])
    context = "Sorts the list in place: bubble_sort([2, 1]) gives [1, 2]."
    found = _forward(Submitted("def bubble_sort(a):\n    a[:] = sorted(a)\n", "python", context), tools_for(script))
    assert (found[0][0].basis, found[0][0].assertion) == (
        "context",
        "given = [2, 1]; bubble_sort(given); given should be [1, 2]",
    )
    assert _rulings(found) == {PASS}


def test_a_second_derivation_that_returns_a_new_list_has_no_say_in_what_is_changed_in_place(
    tools_for: Callable[[Any], Tools],
) -> None:
    script = Script(
        tests=[
            {
                "tests": [
                    "bubbleSort([3, 1, 2]) === [1, 2, 3]",
                    "bubbleSort([5, 4]) === [4, 5]",
                    "bubbleSort([2, 9, 4]) === [2, 4, 9]",
                ]
            }
        ],
        reference=[
            {"lines": ["function bubbleSort(a) { return [...a].sort((x, y) => x - y); }"]},
            {"lines": ["function bubbleSort(a) { return a.sort((x, y) => x - y); }"]},
        ],
    )
    right = Submitted("function bubbleSort(a) { a.sort((x, y) => x - y); }\n", "javascript", "Sorts the list in place.")
    assert _rulings(_forward(right, tools_for(script))) == {PASS}
    wrong = Submitted("function bubbleSort(a) { a.reverse(); }\n", "javascript", "Sorts the list in place.")
    assert PASS not in _rulings(_forward(wrong, tools_for(script))[:1])


def test_a_result_that_is_never_returned_is_still_missed(tools_for: Callable[[Any], Tools]) -> None:
    script = Script(
        tests=[{"tests": ["total([3, 1, 2]) == 6", "total([5, 4]) == 9", "total([1]) == 1"]}],
        reference=[{"lines": ["def total(items):", "    return sum(items)"]}],
    )
    found = _forward(Submitted("def total(items):\n    s = sum(items)\n", "python", "The sum."), tools_for(script))
    assert _rulings(found[:3]) == {FAIL}


@pytest.mark.parametrize(
    ("code", "test"),
    [
        ("def greet(name):\n    print('Hello', name)\n", "greet('Ann') == None"),
        ("def show(items):\n    print(items)\n", "show([1, 2]) == None"),
        (
            "class Log:\n    def add(self, x):\n        print(x)\n",
            {"arguments": "", "calls": ["add(1) == None", "add(2) == None"]},
        ),
    ],
)
def test_that_nothing_is_returned_is_no_pass(tools_for: Callable[[Any], Tools], code: str, test: Any) -> None:
    script = Script(tests=[{"tests": [test]}], reference=[{"lines": code.splitlines()}])
    ((claim, verdict),) = _forward(Submitted(code, "python", "Says something."), tools_for(script))
    assert verdict.verdict is NOT_APPLICABLE
    assert "returns nothing" in claim.description
    assert verdict.reasoning == claim.description


def test_that_nothing_is_raised_is_a_claim(tools_for: Callable[[Any], Tools]) -> None:
    code = "def check(age):\n    if age < 0:\n        raise ValueError(age)\n"
    script = Script(
        tests=[{"tests": ["check(5) == None", "check(40) == None", "check(-1) raises ValueError"]}],
        reference=[{"lines": code.splitlines()}],
    )
    found = _forward(Submitted(code, "python", "Refuses negative ages."), tools_for(script))
    assert _rulings(found) == {PASS}
    assert len(found) == 3


def test_what_is_put_into_an_asynchronous_queue_is_there(tools_for: Callable[[Any], Tools]) -> None:
    code = [
        "class Queue:",
        "    def __init__(self):",
        "        self.items = []",
        "    async def put(self, item):",
        "        self.items.append(item)",
        "    def size(self):",
        "        return len(self.items)",
    ]
    test = {"arguments": "", "calls": ["put(1)", "put(2)", "size() == 2"]}
    script = Script(tests=[{"tests": [test]}], reference=[{"lines": code}])
    found = _forward(Submitted("\n".join(code), "python", "A queue."), tools_for(script))
    assert found[0][0].assertion.endswith("await subject.put(2); subject.size() should return 2")
    assert _rulings(found) == {PASS}
    wrong = [line.replace("append(item)", "pop()") for line in code]
    assert PASS not in _rulings(_forward(Submitted("\n".join(wrong), "python", "A queue."), tools_for(script)))


def test_a_function_without_a_usable_call_leaves_the_others_their_verdicts(tools_for: Callable[[Any], Tools]) -> None:
    code = "def add(a, b):\n    return a + b\n\ndef other(a):\n    return a\n"
    tests = {"tests": ["add(2, 3) == 5", "add(4, 6) == 10", "add(5, 5) == 10"]}
    reference = {"lines": ["def add(a, b):", "    return a + b"]}
    found = _forward(Submitted(code, "python"), tools_for(Script(tests=[tests], reference=[reference])))
    assert [verdict.verdict for _, verdict in found[:3]] == [PASS] * 3
    claim, verdict = found[-1]
    assert (claim.function, claim.testable, verdict.verdict) == ("other", False, NOT_APPLICABLE)
    assert "was not run" in verdict.reasoning
    with pytest.raises(StageFailed):
        extract(Submitted("def other(a):\n    return a\n", "python"), tools_for(Script(tests=[tests])))


def test_an_undefined_name_in_an_annotation_fails_nothing(tools_for: Callable[[Any], Tools]) -> None:
    code = 'def total(items: "list[Item]") -> int:\n    return sum(items)\n'
    tests = {"tests": ["total([2, 3]) == 5", "total([4]) == 4", "total([5, 1]) == 6"]}
    script = Script(tests=[tests], reference=[{"lines": ["def total(items):", "    return sum(items)"]}])
    found = _forward(Submitted(code, "python", "The sum."), tools_for(script))
    assert FAIL not in _rulings(found)
    assert found[0][1].verdict is Ruling.PARTIAL
