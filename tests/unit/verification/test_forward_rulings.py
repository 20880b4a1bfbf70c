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
