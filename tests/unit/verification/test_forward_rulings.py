"""The table from runs and votes to verdicts."""

from __future__ import annotations

import pytest

from shared.sandbox.model import Observation, Outcome
from shared.verification.items import Ruling
from shared.verification.rulings import Basis, Seen, Votes, ruling, seen

_FAIL, _PASS, _PARTIAL, _NA = Ruling.FAIL, Ruling.PASS, Ruling.PARTIAL, Ruling.NOT_APPLICABLE


def _ruled(
    found: Seen,
    votes: Votes,
    *,
    basis: Basis = Basis.AGREED,
    inside: bool = True,
    border: bool = False,
    last: bool = True,
) -> Ruling | None:
    return ruling(found, basis=basis, votes=votes, is_inside=inside, is_border=border, is_last=last)


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        (Votes(expected=3), _FAIL),
        (Votes(expected=3, other=1), _FAIL),
        (Votes(expected=2), _FAIL),
        (Votes(expected=2, other=1), _PARTIAL),
        (Votes(expected=2, actual=1), _PARTIAL),
        (Votes(expected=3, actual=1), _PARTIAL),
        (Votes(expected=1), _PARTIAL),
        (Votes(), _PARTIAL),
    ],
)
def test_a_fail_needs_derivations_that_agree_and_none_that_sides_with_the_code(votes: Votes, verdict: Ruling) -> None:
    for found in (Seen.DIFFERED, Seen.RAISED, Seen.TIMED_OUT):
        assert _ruled(found, votes) is verdict


def test_two_derivations_have_a_third_asked_for_before_anything_is_said() -> None:
    assert _ruled(Seen.DIFFERED, Votes(expected=2), last=False) is None
    assert _ruled(Seen.DIFFERED, Votes(expected=2, other=1), last=False) is None
    assert _ruled(Seen.DIFFERED, Votes(expected=3), last=False) is _FAIL


def test_what_the_context_says_needs_no_vote() -> None:
    assert _ruled(Seen.DIFFERED, Votes(actual=3), basis=Basis.CONTEXT, inside=False, last=False) is _FAIL


def test_an_input_outside_of_the_contract_is_never_failed() -> None:
    assert _ruled(Seen.DIFFERED, Votes(expected=3), inside=False) is _PARTIAL


def test_a_border_input_is_failed_only_without_dissent() -> None:
    assert _ruled(Seen.DIFFERED, Votes(expected=3), border=True) is _FAIL
    assert _ruled(Seen.DIFFERED, Votes(expected=3, other=1), border=True) is _PARTIAL
    assert _ruled(Seen.DIFFERED, Votes(expected=2), border=True) is _PARTIAL


def test_equal_but_for_its_type_is_never_failed() -> None:
    assert _ruled(Seen.ALIKE, Votes(expected=3)) is _PARTIAL
    assert _ruled(Seen.ALIKE, Votes(expected=1, actual=1)) is _PASS
    assert _ruled(Seen.ALIKE, Votes(actual=1), basis=Basis.CONTEXT) is _PARTIAL


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(Seen.MATCHED, _PASS), (Seen.FLAKY, _PARTIAL), (Seen.EXHAUSTED, _PARTIAL), (Seen.NOT_RUN, _NA)],
)
def test_votes_change_nothing_about(found: Seen, verdict: Ruling) -> None:
    assert _ruled(found, Votes(expected=3)) is _ruled(found, Votes(actual=3)) is verdict


def test_two_runs_that_differ_are_flaky() -> None:
    one = Observation(Outcome.RETURNED, actual="1", matches=False)
    assert seen(one, Observation(Outcome.RETURNED, actual="2", matches=False)) is Seen.FLAKY
    assert seen(one, Observation(Outcome.RAISED, error="ValueError: x", matches=False)) is Seen.FLAKY
    assert seen(one, one) is Seen.DIFFERED


def test_an_error_that_names_an_address_is_not_flaky() -> None:
    first, second = (Observation(Outcome.RAISED, error=f"ValueError: at {place}", matches=False) for place in (1, 2))
    assert seen(first, second) is Seen.RAISED


def test_what_no_time_was_left_for_was_not_run() -> None:
    untried = Observation(Outcome.NOT_TRIED)
    for other in (untried, Observation(Outcome.TIMED_OUT), Observation(Outcome.RETURNED, actual="1", matches=False)):
        for basis in Basis:
            assert seen(untried, other, basis=basis) is seen(other, untried, basis=basis) is Seen.NOT_RUN


@pytest.mark.parametrize(
    ("outcome", "error", "found"),
    [
        (Outcome.BAD_PROBE, "TypeError: add() takes 1 positional argument but 2 were given", Seen.BROKE),
        (Outcome.BAD_PROBE, "TypeError: s.pop is not a function", Seen.NOT_RUN),
        (Outcome.BAD_PROBE, "NameError: name 'g' is not defined", Seen.NOT_RUN),
        (Outcome.BAD_PROBE, "in the setup: TypeError: f() takes no arguments", Seen.NOT_RUN),
        (Outcome.BAD_PROBE, "expected value: TypeError: bad", Seen.NOT_RUN),
        (Outcome.CRASHED, "the code ended its own run with status 0", Seen.BROKE),
        (Outcome.CRASHED, "the interpreter stopped: out of bounds memory access", Seen.NOT_RUN),
        (Outcome.REFUSED, "OSError: no", Seen.NOT_RUN),
    ],
)
def test_a_call_of_the_context_that_the_code_does_not_take_or_survive_speaks_against_it(
    outcome: Outcome, error: str, found: Seen
) -> None:
    run = Observation(outcome, error=error, expected="3")
    assert seen(run, run, basis=Basis.CONTEXT) is found
    assert seen(run, run, basis=Basis.AGREED) is Seen.NOT_RUN
    assert _ruled(found, Votes(), basis=Basis.CONTEXT) is (_FAIL if found is Seen.BROKE else _NA)


def test_arguments_that_do_not_fit_where_an_error_should_come_settle_nothing() -> None:
    run = Observation(Outcome.BAD_PROBE, error="TypeError: add() takes 1 positional argument but 2 were given")
    assert seen(run, run, basis=Basis.CONTEXT) is Seen.NOT_RUN


def test_a_value_of_the_context_is_met_by_what_the_language_calls_equal() -> None:
    run = Observation(Outcome.RETURNED, actual="2.0", matches=False, alike=True, is_equal=True)
    assert seen(run, run, basis=Basis.CONTEXT) is Seen.MATCHED
    assert seen(run, run, basis=Basis.AGREED) is Seen.ALIKE
    tuples = Observation(Outcome.RETURNED, actual="(1,)", matches=False, alike=True, is_equal=False)
    assert seen(tuples, tuples, basis=Basis.CONTEXT) is Seen.ALIKE


def test_the_order_of_keys_is_not_flaky() -> None:
    one, other = (
        Observation(Outcome.RETURNED, actual=text, matches=False, digest="d") for text in ("{1, 2}", "{2, 1}")
    )
    assert seen(one, other) is Seen.DIFFERED
