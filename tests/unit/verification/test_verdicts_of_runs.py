"""Verdicts made of what a scripted sandbox gives, run after run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe, Ran
from shared.verification.claims import loading
from shared.verification.items import Category, Claim, EvidenceKind, Ruling, Severity, Submitted, Verdict
from shared.verification.tools import Tools
from shared.verification.verdicts import executed

_SUBMITTED = Submitted("def f(n):\n    return n\n", "python", "f(1) == 2")
_RIGHT = Observation(Outcome.RETURNED, actual="2", matches=True, alike=True)
_WRONG = Observation(Outcome.RETURNED, actual="1", matches=False, alike=False)
_SLOW = Observation(Outcome.TIMED_OUT)
_UNTRIED = Observation(Outcome.NOT_TRIED, error="no time was left to try this probe")


class _NoAsker:
    def ask(self, **_: Any) -> NoReturn:
        raise AssertionError("what the context says needs no derivation")


class _Scripted:
    """Gives each run of one probe its observation, told apart by the hash seed, and keeps under which limits it was asked for."""

    def __init__(self, *observations: Observation) -> None:
        self._by_seed = observations
        self.limits: list[Limits] = []

    def run(
        self,
        language: Language,
        code: str,  # noqa: ARG002 - the port has it
        probes: Sequence[Probe],
        *,
        limits: Limits | None = None,
        **_: Any,
    ) -> Ran:
        """Give this run's observation for the probe."""
        self.limits.append(limits or Limits())
        return Ran(language, "scripted", tuple(self._by_seed[self.limits[-1].hash_seed] for _ in probes), 0)


def _claim() -> Claim:
    weight = (Category.CORRECTNESS, Severity.HIGH)
    probe = Probe("f(1)", "2")
    return Claim("CLAIM-001", *weight, "", "", testable=True, function="f", lines=(1, 2), probe=probe, basis="context")


def _verdict(sandbox: _Scripted, claim: Claim | None = None) -> Verdict:
    tools = Tools(_NoAsker(), sandbox, lambda: None)
    [verdict] = executed(_SUBMITTED, [claim or _claim()], {}, tools)
    return verdict


@pytest.mark.parametrize(
    ("runs", "ruling"),
    [
        ((_RIGHT, _RIGHT), Ruling.PASS),
        ((_WRONG, _WRONG), Ruling.FAIL),
        ((_SLOW, _SLOW, _SLOW), Ruling.FAIL),
        ((_SLOW, _SLOW, _UNTRIED), Ruling.FAIL),
        ((_SLOW, _SLOW, _RIGHT), Ruling.PARTIAL),
        ((_UNTRIED, _UNTRIED), Ruling.NOT_APPLICABLE),
        ((_SLOW, _UNTRIED), Ruling.NOT_APPLICABLE),
        ((_UNTRIED, _RIGHT, _RIGHT), Ruling.PASS),
        ((_WRONG, _UNTRIED, _WRONG), Ruling.FAIL),
        ((_RIGHT, _UNTRIED, _UNTRIED), Ruling.NOT_APPLICABLE),
        ((_RIGHT, _SLOW, _RIGHT), Ruling.PASS),
        ((_SLOW, _RIGHT, _SLOW), Ruling.FAIL),
    ],
)
def test_only_calls_that_had_their_time_twice_are_judged_and_every_run_is_shown(
    runs: tuple[Observation, ...], ruling: Ruling
) -> None:
    verdict = _verdict(_Scripted(*runs))
    assert verdict.verdict is ruling
    assert [entry["observation"] for entry in verdict.transcript] == [run.to_json() for run in runs]
    assert [entry["run"] for entry in verdict.transcript] == list(range(1, len(runs) + 1))
    if ruling is Ruling.NOT_APPLICABLE:
        assert (verdict.reasoning, verdict.evidence_kind) == (
            "f(1) was not run twice: no time was left for it.",
            EvidenceKind.NONE,
        )


def test_no_two_runs_of_one_call_give_sets_the_same_order() -> None:
    sandbox = _Scripted(_SLOW, _RIGHT, _RIGHT)
    _verdict(sandbox)
    assert len({limits.hash_seed for limits in sandbox.limits}) == 3


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            Observation(
                Outcome.BAD_PROBE, expected="2", error="TypeError: f() takes 0 positional arguments but 1 was given"
            ),
            "takes 0 positional arguments",
        ),
        (Observation(Outcome.CRASHED, error="the code ended its own run with status 0"), "ended its own run"),
    ],
)
def test_code_that_breaks_the_contexts_own_example_is_failed_for_what_happened(found: Observation, says: str) -> None:
    verdict = _verdict(_Scripted(found, found))
    assert (verdict.verdict, verdict.evidence_kind) == (Ruling.FAIL, EvidenceKind.EXECUTED)
    assert says in verdict.reasoning
    assert verdict.reasoning.endswith("It should return 2. The context says so.")


@pytest.mark.parametrize(
    ("found", "ruling"),
    [
        (Observation(Outcome.RETURNED, actual="0"), Ruling.PASS),
        (Observation(Outcome.REFUSED, error="KeyError: 'X'"), Ruling.NOT_APPLICABLE),
        (Observation(Outcome.NOT_LOADED, error="ModuleNotFoundError: x"), Ruling.NOT_APPLICABLE),
        (_UNTRIED, Ruling.NOT_APPLICABLE),
        (Observation(Outcome.NOT_LOADED, error="SyntaxError: x"), Ruling.FAIL),
        (Observation(Outcome.NOT_LOADED, error="ValueError: x"), Ruling.PARTIAL),
    ],
)
def test_code_that_reaches_outside_while_it_loads_cannot_be_judged(found: Observation, ruling: Ruling) -> None:
    assert _verdict(_Scripted(found, found), loading()).verdict is ruling
