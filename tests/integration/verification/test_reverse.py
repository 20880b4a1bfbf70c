"""Code from a task, held against its specifications in real sandboxes; the model is scripted, or the simulated one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from devstack.sim_model.answers import answer_to
from devstack.sim_model.chat import parse_chat
from devstack.sim_model.faults import plan_of
from shared.kernel.canonical_json import jcs
from shared.llm.schema import parse_answer
from shared.sandbox.model import Probe
from shared.sandbox.service import Sandboxes
from shared.verification import reverse
from shared.verification.items import Attempt, Category, EvidenceKind, Severity, Specification, SpecStatus, Task
from shared.verification.specifications import STATED
from shared.verification.tools import Tools
from tests.integration.sandbox.conftest import sandbox_cache, sandboxes  # noqa: F401 - fixtures are found by their names

_TASK = Task("Write add(a, b): the sum of two numbers", "python")
_RIGHT = "def add(a, b):\n    return a + b\n"
_WRONG = "def add(a, b):\n    return a - b\n"
_OTHER = "def add(a, b):\n    return a * b + 100\n"


class CodeAsker:
    """Gives the programs it is told to, or whole answers, by the schema's name, in their order."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = {f"verification_{name}": list(given) for name, given in answers.items()}
        self.asked: list[tuple[str, str]] = []

    def ask(self, *, user: str, name: str, **_: Any) -> dict[str, Any]:
        self.asked.append((name, user))
        given = self._answers[name].pop(0)
        return {"code": given} if isinstance(given, str) else given

    @property
    def names(self) -> list[str]:
        return [name.removeprefix("verification_") for name, _ in self.asked]


class SimulatedAsker:
    """Asks the simulated model, without a server between."""

    def ask(
        self, *, system: str, user: str, schema: dict[str, Any], name: str, max_tokens: int, **_: Any
    ) -> dict[str, Any]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        asked = {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
        body = {"model": "sim-small", "messages": messages, "max_tokens": max_tokens, "response_format": asked}
        return parse_answer(answer_to(parse_chat(jcs(body)), plan_of([])).text, schema)


@pytest.fixture
def tools_for(sandboxes: Sandboxes) -> Callable[[Any], Tools]:  # noqa: F811 - the fixture
    return lambda asker: Tools(asker, sandboxes, lambda: None)


def _specs(*probes: Probe, stated: Sequence[int] = ()) -> tuple[Specification, ...]:
    every = (Probe(call="callable(add)", expected="True"), *probes)
    return tuple(
        Specification(
            id=f"SPEC-{number:03}",
            category=Category.CORRECTNESS,
            severity=Severity.HIGH,
            description="",
            assertion="def add(a, b)" if number == 1 else f"{probe.call} should return {probe.expected}",
            rationale=STATED if number in stated else "",
            probe=probe,
        )
        for number, probe in enumerate(every, start=1)
    )


_SPECS = _specs(Probe(call="add(1, 2)", expected="3"), Probe(call="add(2, 0)", expected="2"))


def _statuses(attempt: Attempt) -> list[str]:
    return [verdict.status.value for verdict in attempt.verdicts]


def test_code_that_fails_a_specification_is_mended_and_the_better_attempt_chosen(
    tools_for: Callable[[Any], Tools],
) -> None:
    asker = CodeAsker(second_code=[_OTHER, _OTHER, _OTHER], repair=[_RIGHT])
    tools = tools_for(asker)
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools)
    attempts = reverse.repair(_TASK, _SPECS, (), _WRONG, verdicts, tools)
    assert [_statuses(attempt) for attempt in attempts] == [
        ["satisfied", "unsatisfied", "satisfied"],
        ["satisfied", "unsatisfied", "unsatisfied"],
        ["satisfied"] * 3,
    ]
    assert [attempt.chosen for attempt in attempts] == [False, False, True]
    assert (attempts[0].code, attempts[2].code, attempts[2].satisfied) == (_WRONG, _RIGHT, 3)
    assert "add(1, 2) returned -1; expected 3." in asker.asked[-1][1]


def test_the_independent_program_is_an_attempt_too(tools_for: Callable[[Any], Tools]) -> None:
    asker = CodeAsker(second_code=[_RIGHT, _RIGHT])
    tools = tools_for(asker)
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools)
    attempts = reverse.repair(_TASK, _SPECS, (), _WRONG, verdicts, tools)
    assert [(attempt.code, attempt.chosen) for attempt in attempts] == [(_WRONG, False), (_RIGHT, True)]
    assert asker.names == ["second_code", "second_code"]


def test_where_both_fail_one_more_program_is_written_from_the_task_alone(tools_for: Callable[[Any], Tools]) -> None:
    asker = CodeAsker(second_code=[_OTHER, _OTHER, _RIGHT])
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools_for(asker))
    attempts = reverse.repair(_TASK, _SPECS, (), _WRONG, verdicts, tools_for(asker))
    assert [(attempt.code, attempt.chosen) for attempt in attempts] == [
        (_WRONG, False),
        (_OTHER, False),
        (_RIGHT, True),
    ]
    assert asker.names == ["second_code"] * 3


def test_beside_a_program_that_is_the_code_again_another_is_asked_for(tools_for: Callable[[Any], Tools]) -> None:
    asker = CodeAsker(second_code=[_WRONG, f"{_WRONG}\n"])
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools_for(asker))
    assert (verdicts[1].status, verdicts[1].disputed) == (SpecStatus.PARTIAL, True)
    asker = CodeAsker(second_code=[_WRONG, _RIGHT])
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools_for(asker))
    (run,) = verdicts[1].transcript
    assert [second["actual"] for second in run["references"]] == ["3"]


def test_a_worse_attempt_is_kept_and_never_chosen(tools_for: Callable[[Any], Tools]) -> None:
    asker = CodeAsker(
        second_code=[_OTHER, _OTHER, _OTHER], repair=["def add(a, b):\n    return None\n", "not ( python"]
    )
    tools = tools_for(asker)
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools)
    attempts = reverse.repair(_TASK, _SPECS, (), _WRONG, verdicts, tools)
    assert [attempt.satisfied for attempt in attempts] == [2, 1, 1, 0]
    assert [attempt.chosen for attempt in attempts] == [True, False, False, False]
    assert asker.names.count("repair") == 2


def test_code_that_satisfies_all_is_neither_mended_nor_doubted(tools_for: Callable[[Any], Tools]) -> None:
    asker = CodeAsker()
    verdicts = reverse.verify(_TASK, _SPECS, _RIGHT, tools_for(asker))
    attempts = reverse.repair(_TASK, _SPECS, (), _RIGHT, verdicts, tools_for(asker))
    assert [(attempt.satisfied, attempt.chosen) for attempt in attempts] == [(3, True)]
    assert asker.asked == []


def test_a_disputed_expectation_is_partial_and_not_chased(tools_for: Callable[[Any], Tools]) -> None:
    specs = _specs(Probe(call="add(1, 2)", expected="3"), Probe(call="add(2, 2)", expected="5"))
    asker = CodeAsker(second_code=["def add(a, b):\n    return b + a\n"])
    verdicts = reverse.verify(_TASK, specs, _RIGHT, tools_for(asker))
    assert [verdict.status for verdict in verdicts] == [SpecStatus.SATISFIED, SpecStatus.SATISFIED, SpecStatus.PARTIAL]
    assert verdicts[2].disputed
    assert all(value in verdicts[2].reasoning for value in ("returned 4", "expected 5"))
    attempts = reverse.repair(_TASK, specs, (), _RIGHT, verdicts, tools_for(asker))
    assert len(attempts) == 1
    assert asker.names == ["second_code"]


def test_what_the_task_states_is_never_disputed(tools_for: Callable[[Any], Tools]) -> None:
    specs = _specs(Probe(call="add(2, 2)", expected="5"), stated=[2])
    asker = CodeAsker()
    verdicts = reverse.verify(_TASK, specs, _RIGHT, tools_for(asker))
    assert (verdicts[1].status, verdicts[1].disputed) == (SpecStatus.UNSATISFIED, False)


def test_an_attempt_that_loses_what_the_task_states_is_not_chosen_for_more_hypotheses(
    tools_for: Callable[[Any], Tools],
) -> None:
    guesses = [Probe(call=f"add({number}, 1)", expected=str(number - 1)) for number in (5, 6, 7)]
    specs = _specs(Probe(call="add(2, 2)", expected="4"), *guesses, stated=[2])
    asker = CodeAsker(second_code=[_OTHER, _OTHER, _OTHER], repair=[_WRONG, _WRONG])
    verdicts = reverse.verify(_TASK, specs, _RIGHT, tools_for(asker))
    attempts = reverse.repair(_TASK, specs, (), _RIGHT, verdicts, tools_for(asker))
    assert [attempt.satisfied for attempt in attempts] == [2, 1, 4]
    assert attempts[0].chosen


def test_flaky_code_satisfies_nothing(tools_for: Callable[[Any], Tools]) -> None:
    flaky = "import time\ndef add(a, b):\n    return time.time_ns()\n"
    verdicts = reverse.verify(_TASK, _SPECS, flaky, tools_for(CodeAsker(second_code=[_RIGHT])))
    assert [verdict.status for verdict in verdicts] == [SpecStatus.SATISFIED, SpecStatus.PARTIAL, SpecStatus.PARTIAL]
    assert verdicts[1].reasoning.startswith("Two runs differ")


def test_code_without_the_interface_satisfies_nothing(tools_for: Callable[[Any], Tools]) -> None:
    verdicts = reverse.verify(
        _TASK, _SPECS, "def plus(a, b):\n    return a + b\n", tools_for(CodeAsker(second_code=[_RIGHT]))
    )
    assert [verdict.status for verdict in verdicts] == [SpecStatus.UNSATISFIED] * 3


def test_of_a_language_that_cannot_be_run_nothing_counts_as_satisfied_but_what_parsing_shows(
    tools_for: Callable[[Any], Tools],
) -> None:
    specs = (
        replace(_SPECS[0], description="The code defines the function Add", probe=None),
        *(replace(spec, probe=None) for spec in _SPECS[1:]),
    )
    others = len(specs) - 1
    asker = CodeAsker(opinions=[{"opinions": [{"holds": "no", "reason": "it subtracts"}] * others}])
    code = "package a\n\nfunc Add(a int, b int) int { return a - b }\n"
    verdicts = reverse.verify(Task("Write Add(a, b): the sum of two numbers", "go"), specs, code, tools_for(asker))
    assert [verdict.status for verdict in verdicts] == [SpecStatus.SATISFIED, *[SpecStatus.UNKNOWN] * others]
    assert [verdict.evidence_kind for verdict in verdicts] == [EvidenceKind.STATIC, *[EvidenceKind.OPINION] * others]
    assert {verdict.opinion for verdict in verdicts[1:]} == {"A model's opinion, not checked: no. it subtracts"}
    assert asker.names == ["opinions"]


def test_values_that_are_none_are_dropped_and_text_is_given_its_quotes(tools_for: Callable[[Any], Tools]) -> None:
    words = ["hello-world", "a", '"quoted"', "12", "None", "x y"]
    cases = [_case(f"greet({number})", word) for number, word in enumerate(words)]
    cases += [_case(f"greet({number})", "'ok'") for number in range(10, 20)]
    asker = _ScriptedCases("greet", "str", cases)
    specs = reverse.specify(Task("Write greet(n); greet(99) returns 'bye'", "python"), tools_for(asker))
    expected = [spec.probe.expected for spec in specs if spec.probe is not None]
    assert expected[1:8] == ["'bye'", '"hello-world"', '"a"', '"quoted"', '"12"', "None", '"x y"']
    assert specs[1].rationale == STATED
    numbers = [_case(f"greet({number})", word) for number, word in enumerate(["1", "hello-world", "1 +", "2"])]
    numbers += [_case(f"greet({number})", str(number)) for number in range(10, 20)]
    specs = reverse.specify(Task("Write greet(n)", "python"), tools_for(_ScriptedCases("greet", "int", numbers)))
    assert len(specs) == 13


def _case(call: str, expected: str) -> dict[str, str]:
    return {"call": call, "expected": expected, "raises": "", "why": "so"}


class _ScriptedCases:
    def __init__(self, name: str, returns: str, cases: Sequence[dict[str, str]]) -> None:
        parameters = [{"name": "n", "type": "int"}]
        self._interface = {
            "kind": "function",
            "name": name,
            "parameters": parameters,
            "returns": returns,
            "methods": [],
        }
        self._cases = cases

    def ask(self, *, name: str, **_: Any) -> dict[str, Any]:
        return dict(self._interface) if name == "verification_interface" else {"items": list(self._cases)}


@pytest.mark.parametrize(
    ("language", "task"),
    [
        ("typescript", "Write a rate limiter using sliding window algorithm"),
        ("javascript", "Add two numbers"),
        ("typescript", "slugify(title)"),
        ("python", "Add two numbers"),
    ],
)
def test_the_simulated_model_writes_code_that_satisfies_every_specification(
    tools_for: Callable[[Any], Tools], language: str, task: str
) -> None:
    chosen, specs, attempts = _whole(Task(task, language), tools_for(SimulatedAsker()))
    assert 20 <= len(specs) <= 30
    assert (chosen.satisfied, len(attempts)) == (len(specs), 1)


@pytest.mark.parametrize("language", ["python", "typescript"])
def test_the_simulated_models_defect_is_found_and_mended(tools_for: Callable[[Any], Tools], language: str) -> None:
    task = Task("Write a rate limiter using sliding window algorithm [sim:defect]", language)
    chosen, specs, attempts = _whole(task, tools_for(SimulatedAsker()))
    assert attempts[0].satisfied < len(specs)
    assert chosen.satisfied == len(specs)
    assert chosen.number == 2


def _whole(task: Task, tools: Tools) -> tuple[Attempt, tuple[Specification, ...], tuple[Attempt, ...]]:
    specs = reverse.specify(task, tools)
    constraints = reverse.constrain(task, specs, tools)
    code = reverse.generate(task, specs, constraints, tools)
    verdicts = reverse.verify(task, specs, code, tools)
    attempts = reverse.repair(task, specs, constraints, code, verdicts, tools)
    return next(attempt for attempt in attempts if attempt.chosen), specs, attempts
