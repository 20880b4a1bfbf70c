"""What two runs say of a specification, and what a second program changes of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe, Ran
from shared.verification.conformance import Trial, held, judged, weighed
from shared.verification.items import Category, EvidenceKind, Severity, Specification, SpecStatus, Task
from shared.verification.tools import Tools

_PROBE = Probe(call="f(1)", expected="2")


def _returned(actual: str, *, matches: bool = False, alike: bool = False) -> Observation:
    return Observation(Outcome.RETURNED, actual=actual, expected="2", matches=matches, alike=alike or matches)


def _raised(error: str, *, matches: bool | None = False) -> Observation:
    return Observation(Outcome.RAISED, expected="2", matches=matches, alike=matches, error=error)


def _trial(first: Observation, again: Observation | None = None, probe: Probe = _PROBE) -> Trial:
    spec = Specification("SPEC-002", Category.CORRECTNESS, Severity.HIGH, "", "f(1) should return 2", "", probe)
    return Trial(spec, probe, (first, again or first))


_RIGHT = _returned("2", matches=True)
_WRONG = _returned("3")


@pytest.mark.parametrize(
    ("first", "again", "status"),
    [
        (_RIGHT, _RIGHT, SpecStatus.SATISFIED),
        (_RIGHT, _returned("2.0000000001", matches=True), SpecStatus.SATISFIED),
        (_WRONG, _WRONG, SpecStatus.UNSATISFIED),
        (_RIGHT, _WRONG, SpecStatus.PARTIAL),
        (_WRONG, _RIGHT, SpecStatus.PARTIAL),
        (_WRONG, _returned("4"), SpecStatus.PARTIAL),
        (_returned("2.0", alike=True), _returned("2.0", alike=True), SpecStatus.PARTIAL),
        (_raised("ValueError: no"), _raised("ValueError: no"), SpecStatus.UNSATISFIED),
        (_raised("ValueError: no", matches=True), _raised("ValueError: no", matches=True), SpecStatus.SATISFIED),
        (_RIGHT, Observation(Outcome.TIMED_OUT), SpecStatus.PARTIAL),
        *(
            (Observation(outcome), Observation(outcome), SpecStatus.UNSATISFIED)
            for outcome in Outcome
            if outcome not in (Outcome.RETURNED, Outcome.RAISED, Outcome.BAD_PROBE, Outcome.NOT_TRIED)
        ),
    ],
)
def test_only_what_matched_both_times_satisfies(first: Observation, again: Observation, status: SpecStatus) -> None:
    verdict = judged(_trial(first, again), defined=frozenset({"f"}))
    assert verdict.status is status
    assert verdict.evidence_kind is EvidenceKind.EXECUTED
    assert [len(run["runs"]) for run in verdict.transcript] == [2]


@pytest.mark.parametrize("other", [Observation(Outcome.NOT_TRIED), _RIGHT, _WRONG, Observation(Outcome.TIMED_OUT)])
def test_a_specification_that_no_time_was_left_for_is_unknown(other: Observation) -> None:
    untried = Observation(Outcome.NOT_TRIED, error="no time was left to try this probe")
    for first, again in ((untried, other), (other, untried)):
        verdict = judged(_trial(first, again), defined=frozenset({"f"}))
        assert (verdict.status, verdict.reasoning) == (
            SpecStatus.UNKNOWN,
            "f(1) was not run twice: no time was left for it.",
        )


def test_the_order_of_keys_makes_no_two_runs_of_one_value() -> None:
    runs = [replace(_returned(text), digest="one") for text in ("{1: 2, 3: 4}", "{3: 4, 1: 2}")]
    assert judged(_trial(runs[0], runs[1]), defined=frozenset({"f"})).status is SpecStatus.UNSATISFIED
    assert (
        judged(_trial(runs[0], replace(runs[1], digest="two")), defined=frozenset({"f"})).status is SpecStatus.PARTIAL
    )


def test_a_specification_that_cannot_be_read_is_unknown() -> None:
    bad = Observation(Outcome.BAD_PROBE, error="NameError: name 'g' is not defined")
    probe = Probe(call="f(h)", expected="2")
    assert judged(_trial(bad, probe=probe), defined=frozenset({"f"})).status is SpecStatus.UNKNOWN


def test_a_name_that_the_code_should_define_and_does_not_is_the_codes_fault() -> None:
    bad = Observation(Outcome.BAD_PROBE, error="NameError: name 'f' is not defined")
    verdict = judged(_trial(bad), defined=frozenset({"g"}))
    assert (verdict.status, verdict.reasoning) == (SpecStatus.UNSATISFIED, "The code defines no f.")


@pytest.mark.parametrize(
    ("actual", "second", "disputed"),
    [
        (_WRONG, _WRONG, True),
        (_WRONG, _RIGHT, False),
        (_WRONG, _returned("4"), False),
        (_WRONG, _raised("ValueError: no"), False),
        (_raised("ValueError: a"), _raised("ValueError: b"), True),
        (_raised("ValueError: a"), _raised("TypeError: a"), False),
        (_raised("NameError: a"), _raised("NameError: a"), False),
        (_raised("AttributeError: a"), _raised("AttributeError: a"), False),
        (Observation(Outcome.TIMED_OUT), Observation(Outcome.TIMED_OUT), False),
        (Observation(Outcome.NOT_LOADED, error="x"), Observation(Outcome.NOT_LOADED, error="x"), False),
    ],
)
def test_a_second_program_that_sides_with_the_code_disputes_the_expected_value(
    actual: Observation, second: Observation, disputed: bool
) -> None:
    trial = _trial(actual)
    first = judged(trial, defined=frozenset({"f"}))
    verdict = weighed(trial, first, second)
    assert verdict.disputed is disputed
    assert verdict.status is (SpecStatus.PARTIAL if disputed else SpecStatus.UNSATISFIED)
    assert verdict.transcript[0]["references"] == [second.to_json()]


def test_the_second_run_gives_sets_another_order() -> None:
    seeds = []

    class Sandbox:
        def run(
            self,
            language: Language,
            code: str,  # noqa: ARG002 - the port has it
            probes: Sequence[Probe],
            *,
            limits: Limits | None = None,
            **_: Any,
        ) -> Ran:
            seeds.append((limits or Limits()).hash_seed)
            return Ran(language, "scripted", (_RIGHT,) * len(probes), 0)

    class NoAsker:
        def ask(self, **_: Any) -> NoReturn:
            raise AssertionError("nothing is in doubt")

    tools = Tools(NoAsker(), Sandbox(), lambda: None)
    held(Task("", "python"), [_trial(_RIGHT).spec], "def f(n): return 2\n", tools, lambda: "")
    assert len(seeds) == len(set(seeds)) == 2


def test_the_reasoning_shows_the_call_with_both_values_and_what_came_before() -> None:
    probe = Probe(call="s.pop()", expected="2", setup="s = Stack()\ns.push(3)")
    verdict = judged(_trial(_WRONG, probe=probe), defined=frozenset({"Stack"}))
    assert verdict.reasoning == "after `s = Stack(); s.push(3)`, s.pop() returned 3; expected 2."
