"""An answer that cannot be read takes nothing from what was found without it; only one that all hangs on ends a stage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.sandbox.model import Probe
from shared.sandbox.service import Sandboxes
from shared.verification import reverse
from shared.verification.forward import extract, remediate, verify
from shared.verification.items import Category, Ruling, Severity, Specification, SpecStatus, Submitted, Task
from shared.verification.opinions import MOST_ASKED, opinions
from shared.verification.tools import FaultCode, StageFailed, Tools
from shared.work.model import RetryLater
from tests.integration.sandbox.conftest import sandbox_cache, sandboxes  # noqa: F401 - fixtures are found by their names
from tests.integration.verification.scripted import Script, unreadable

_TASK = Task("Write add(a, b): the sum of two numbers", "python")
_RIGHT = "def add(a, b):\n    return a + b\n"
_WRONG = "def add(a, b):\n    return a - b\n"
_OVER = StageFailed(FaultCode.INTERNAL_ERROR, "out of time")


def _spec(number: int, call: str, expected: str) -> Specification:
    return Specification(
        id=f"SPEC-{number:03}",
        category=Category.CORRECTNESS,
        severity=Severity.HIGH,
        description="",
        assertion="def add(a, b)" if number == 1 else f"{call} should return {expected}",
        rationale="",
        probe=Probe(call, expected),
    )


_SPECS = (_spec(1, "callable(add)", "True"), _spec(2, "add(1, 2)", "3"), _spec(3, "add(2, 0)", "2"))


@pytest.fixture
def tools_for(sandboxes: Sandboxes) -> Callable[..., Tools]:  # noqa: F811 - the fixture
    return lambda asker, check=lambda: None: Tools(asker, sandboxes, check)


def _raising(error: Exception) -> Callable[[], None]:
    def check() -> None:
        raise error

    return check


def _two_functions() -> tuple[Submitted, Script]:
    code = "def add(a, b):\n    return a - b\n\ndef double(a):\n    return a + 1\n"
    submitted = Submitted(code, "python", "add is the sum, double twice its argument")
    answers = Script(
        tests=[
            {"tests": ["add(2, 3) == 5", "add(4, 6) == 10", "add(5, 5) == 10", "add(1, 1) == 2"]},
            {"tests": ["double(2) == 4", "double(3) == 6", "double(4) == 8", "double(5) == 10"]},
        ],
        reference=[{"lines": ["def add(a, b):", "    return a + b", "def double(a):", "    return 2 * a"]}],
        remedy=[
            unreadable(),
            {"title": "Twice", "action": "modify", "description": "x", "lines": ["def double(a):", "    return 2 * a"]},
        ],
    )
    return submitted, answers


def test_one_correction_that_cannot_be_read_leaves_the_others(tools_for: Callable[..., Tools]) -> None:
    submitted, asker = _two_functions()
    tools = tools_for(asker)
    claims = extract(submitted, tools)
    verdicts = verify(submitted, claims, tools)
    found = remediate(submitted, claims, verdicts, tools)
    by_id = {claim.id: claim.function for claim in claims}
    words = {by_id[one.claim_id]: (one.title.partition(":")[0], one.verified) for one in found}
    assert words == {"add": ("Settle what is meant", None), "double": ("Twice", True)}
    assert {one.claim_id for one in found} == {
        verdict.claim_id for verdict in verdicts if verdict.verdict in (Ruling.FAIL, Ruling.PARTIAL)
    }


def test_opinions_are_asked_of_all_and_missed_where_they_cannot_be_read(tools_for: Callable[..., Tools]) -> None:
    statements = {f"CLAIM-{number}": f"claim {number}" for number in range(2 * MOST_ASKED + 1)}
    every = [{"opinions": [{"holds": "yes", "reason": "it does"}] * count} for count in (MOST_ASKED, 1)]
    asker = Script(opinions=[every[0], unreadable(), every[1]])
    held = opinions(Submitted("x", "cobol"), "x", statements, tools_for(asker))
    assert list(held) == [f"CLAIM-{number}" for number in (*range(MOST_ASKED), 2 * MOST_ASKED)]
    assert asker.names == ["opinions"] * 3


@pytest.mark.parametrize("error", [_OVER, RetryLater("busy", delay_s=1.0)])
def test_what_ends_a_stage_is_no_missing_answer(tools_for: Callable[..., Tools], error: Exception) -> None:
    answer = unreadable() if error is _OVER else error
    tools = tools_for(Script(opinions=[answer]), _raising(error) if error is _OVER else lambda: None)
    with pytest.raises(type(error)) as raised:
        opinions(Submitted("x", "cobol"), "x", {"CLAIM-001": "it works"}, tools)
    assert raised.value is error


def test_a_second_program_that_cannot_be_read_has_no_vote(tools_for: Callable[..., Tools]) -> None:
    tools = tools_for(Script(second_code=[unreadable()]))
    found = reverse.verify(_TASK, _SPECS, _WRONG, tools)
    assert [verdict.status for verdict in found] == [
        SpecStatus.SATISFIED,
        SpecStatus.UNSATISFIED,
        SpecStatus.SATISFIED,
    ]
    assert not any(verdict.disputed for verdict in found)


def test_code_is_mended_without_a_second_program_and_kept_without_a_repair(tools_for: Callable[..., Tools]) -> None:
    tools = tools_for(Script(second_code=[unreadable()]))
    verdicts = reverse.verify(_TASK, _SPECS, _WRONG, tools)
    mended = reverse.repair(
        _TASK,
        _SPECS,
        (),
        _WRONG,
        verdicts,
        tools_for(Script(second_code=[unreadable()], repair=[{"code": _RIGHT}])),
    )
    assert [(attempt.code, attempt.chosen) for attempt in mended] == [(_WRONG, False), (_RIGHT, True)]
    asker = Script(second_code=[{"code": "def add(a, b):\n    return a * b\n"}], repair=[unreadable()])
    kept = reverse.repair(_TASK, _SPECS, (), _WRONG, verdicts, tools_for(asker))
    assert [(attempt.number, attempt.chosen) for attempt in kept] == [(1, True), (2, False)]
    assert asker.names == ["second_code", "second_code", "repair"]
    with pytest.raises(StageFailed) as raised:
        reverse.repair(_TASK, _SPECS, (), _WRONG, verdicts, tools_for(asker, _raising(_OVER)))
    assert raised.value is _OVER
