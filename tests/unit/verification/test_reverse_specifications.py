"""Ten to thirty distinct specifications, or the stage fails. Asked of a scripted model, in a language that nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import jsonschema
import pytest

from shared.verification import reverse
from shared.verification.items import Category, ConstraintSource, EvidenceKind, SpecStatus, Task
from shared.verification.reverse import verify
from shared.verification.tools import StageFailed, Tools

_GO = Task("Add two numbers", "go")
_INTERFACE = {
    "kind": "function",
    "name": "add",
    "parameters": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}],
    "returns": "int",
    "methods": [],
}


class ScriptedAsker:
    """Answers by the schema's name, from a list or a function; what it says is held to the schema."""

    def __init__(self, **answers: list[Any] | Callable[[str], Any]) -> None:
        self._answers = {f"verification_{name}": answer for name, answer in answers.items()}
        self.asked: list[tuple[str, str]] = []

    def ask(self, *, system: str, user: str, schema: dict[str, Any], name: str, **_: Any) -> dict[str, Any]:
        self.asked.append((name, f"{system}\n{user}"))
        answers = self._answers[name]
        answer: dict[str, Any] = answers(user) if callable(answers) else answers.pop(0)
        jsonschema.validate(answer, schema)
        return answer


class _NoSandbox:
    def run(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("nothing is run in a language that cannot be")


def _tools(asker: ScriptedAsker) -> Tools:
    return Tools(asker, _NoSandbox(), lambda: None)


def _case(call: str, expected: str = "0", raises: str = "") -> dict[str, str]:
    return {"call": call, "expected": expected, "raises": raises, "why": "so"}


def _round(start: int, count: int = 10) -> dict[str, Any]:
    return {"items": [_case(f"add({number}, 1)", str(number + 1)) for number in range(start, start + count)]}


def test_the_interface_comes_first_and_the_rest_are_numbered_and_distinct() -> None:
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[_round(0), _round(5)])
    specs = reverse.specify(_GO, _tools(asker))
    assert [spec.id for spec in specs] == [f"SPEC-{number:03}" for number in range(1, 17)]
    assert specs[0].assertion == "add(a: int, b: int): int"
    assert specs[1].assertion == "add(0, 1) should return 1"
    assert len({spec.assertion for spec in specs}) == 16


def test_the_same_call_written_otherwise_is_no_second_specification() -> None:
    again = {"items": [_case(f"add( {number},1 );", "7") for number in range(10)]}
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[_round(0), again])
    assert len(reverse.specify(_GO, _tools(asker))) == 11


def test_too_few_are_asked_for_once_more_and_then_the_stage_fails() -> None:
    few = _round(0, 6)
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[few, few, _round(6, 6)])
    assert len(reverse.specify(_GO, _tools(asker))) == 13
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[few, few, few])
    with pytest.raises(StageFailed) as failed:
        reverse.specify(_GO, _tools(asker))
    assert failed.value.code == "upstream_error"


def test_cases_that_do_not_use_the_interface_or_expect_nothing_are_dropped() -> None:
    useless = {
        "items": [_case("sub(1, 2)"), _case("myadd(1, 2)"), _case("add"), *(_case("add(1, 2)", "") for _ in range(3))]
    }
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[useless, _round(0)])
    assert len(reverse.specify(_GO, _tools(asker))) == 11


def test_an_interface_without_a_name_is_asked_for_once_more() -> None:
    bad = {**_INTERFACE, "name": "two words"}
    asker = ScriptedAsker(interface=[bad, _INTERFACE], specifications=[_round(0), _round(10)])
    assert len(reverse.specify(_GO, _tools(asker))) == 21
    with pytest.raises(StageFailed):
        reverse.specify(_GO, _tools(ScriptedAsker(interface=[bad, bad])))


def test_errors_count_where_the_task_speaks_of_them() -> None:
    odd = {"items": [_case(f"add({number}, 1)", "0", "ValueError") for number in range(10)]}
    for task, category in (
        (_GO, Category.CORRECTNESS),
        (Task("Add; raise on overflow", "go"), Category.ERROR_HANDLING),
    ):
        asker = ScriptedAsker(interface=[_INTERFACE], specifications=[odd, _round(0)])
        specs = reverse.specify(task, _tools(asker))
        assert specs[5].category is category


def test_each_step_of_a_scenario_comes_after_those_before_it() -> None:
    push = {"name": "push", "parameters": [{"name": "item", "type": "int"}], "returns": "int"}
    stack = {**_INTERFACE, "kind": "class", "name": "Stack", "parameters": [], "methods": [push]}

    def scenarios(user: str) -> dict[str, Any]:
        first = user.count("Stack(") * 100
        return {"items": [_scenario(first + number) for number in range(3)]}

    asker = ScriptedAsker(interface=[stack], scenarios=scenarios)
    specs = reverse.specify(Task("A stack", "go"), _tools(asker))
    probe = specs[3].probe
    assert probe is not None
    assert probe.setup.splitlines()[1:] == ["s.push(1)", "s.push(2)", "s.push(3)"]
    assert (probe.call, probe.expected) == ("s.push(4)", "4")


def _scenario(number: int) -> dict[str, Any]:
    steps = [
        {"call": f"s.push({step})", "expected": "" if step == 2 else str(step), "raises": ""} for step in range(1, 6)
    ]
    return {"create": f"s := Stack({number})", "steps": steps, "why": "so"}


def test_constraints_of_the_domain_come_first_and_duplicates_are_dropped() -> None:
    drawn = [
        ("must", "bind. pass values to SQL, as bound parameters"),
        ("must", "Pass values to SQL as bound parameters!"),
        ("prefer", "Keep it short."),
        ("must-not", "keep it   short"),
    ]
    items = {"items": [{"type": kind, "description": text} for kind, text in drawn]}
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[_round(0), _round(10)], constraints=[items])
    task = Task("Add two numbers from a database", "go")
    specs = reverse.specify(task, _tools(asker))
    found = reverse.constrain(task, specs, _tools(asker))
    assert [one.id for one in found] == [f"CON-{number:03}" for number in range(1, len(found) + 1)]
    assert [one.source for one in found] == [ConstraintSource.DOMAIN] * 2 + [ConstraintSource.SPEC] * 2
    assert [one.description for one in found[2:]] == [drawn[0][1], drawn[2][1]]


@pytest.mark.parametrize("bad", ["  \n", "func add(a int, b int) int {", "def add(a, b):"])
def test_code_that_is_empty_or_does_not_parse_is_asked_for_once_more_and_then_fails(bad: str) -> None:
    good = "package main\n\nfunc add(a int, b int) int { return a + b }\n\n  \n"
    asker = ScriptedAsker(
        interface=[_INTERFACE], specifications=[_round(0), _round(10)], code=[{"code": bad}, {"code": good}]
    )
    specs = reverse.specify(_GO, _tools(asker))
    assert reverse.generate(_GO, specs, (), _tools(asker)) == good
    assert ["Expected to hold" in text for name, text in asker.asked if name == "verification_code"] == [True, False]
    with pytest.raises(StageFailed):
        reverse.generate(_GO, specs, (), _tools(ScriptedAsker(code=[{"code": bad}, {"code": bad}])))


def _opinions(user: str) -> dict[str, Any]:
    asked = user.partition("Statements:\n")[2].count("\n") + 1
    return {"opinions": [{"holds": "yes", "reason": "it adds"}] * asked}


def test_code_that_cannot_be_run_is_looked_at_and_never_called_satisfied_by_that() -> None:
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[_round(0), _round(10)], opinions=_opinions)
    specs = reverse.specify(_GO, _tools(asker))
    verdicts = verify(_GO, specs, "package main\n\nfunc add(a int, b int) int { return a + b }\n", _tools(asker))
    assert [verdict.status for verdict in verdicts] == [SpecStatus.SATISFIED, *[SpecStatus.UNKNOWN] * 20]
    assert [verdict.evidence_kind for verdict in verdicts] == [EvidenceKind.STATIC, *[EvidenceKind.OPINION] * 20]
    assert verify(_GO, specs, "package main\n", _tools(asker))[0].status is SpecStatus.UNSATISFIED


def test_long_tasks_and_context_are_cut_to_the_models_room() -> None:
    task = Task("start " + "x" * 19_000 + " end", "go", "context " + "y" * 19_000 + " tail")
    asker = ScriptedAsker(interface=[_INTERFACE], specifications=[_round(0), _round(10)])
    reverse.specify(task, _tools(asker))
    for _, text in asker.asked:
        assert len(text) < 9_000
        assert all(part in text for part in ("start", " end", "context", " tail"))
