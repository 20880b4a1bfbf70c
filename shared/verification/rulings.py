"""What two runs of a claim and the votes of independent derivations amount to: a table, and nothing but."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.sandbox.model import ENDED_ITSELF, Observation, Outcome
from shared.verification.items import Ruling

_ENOUGH = 2
_BEYOND_DOUBT = 3


class Basis(StrEnum):
    """What a claim's expected value rests on."""

    CONTEXT = "context"
    AGREED = "agreed"
    MODEL = "model"
    RULE = "rule"


class Seen(StrEnum):
    """What two runs showed."""

    MATCHED = "matched"
    ALIKE = "alike"
    DIFFERED = "differed"
    RAISED = "raised"
    TIMED_OUT = "timed_out"
    BROKE = "broke"  # a call that the context states does not fit the code, or had it end its own run
    EXHAUSTED = "exhausted"
    FLAKY = "flaky"
    NOT_RUN = "not_run"


@dataclass(frozen=True)
class Votes:
    """How many independent derivations give the expected value, how many the code's own, how many a third one."""

    expected: int = 0
    actual: int = 0
    other: int = 0


_NOT_RUN = frozenset({Outcome.NOT_LOADED, Outcome.BAD_PROBE, Outcome.REFUSED, Outcome.CRASHED, Outcome.NOT_TRIED})
_EXHAUSTED = frozenset({Outcome.OUT_OF_MEMORY, Outcome.TOO_MUCH_OUTPUT})
_NAMES_NOTHING = ("is not a function", "is not a constructor")
CONTRADICTS = frozenset({Seen.DIFFERED, Seen.RAISED, Seen.TIMED_OUT, Seen.BROKE})
"""What speaks against the code, if the expected value is right."""


def seen(first: Observation, second: Observation, *, basis: Basis = Basis.MODEL) -> Seen:
    """Return what two runs of one probe showed together.

    A call that the context states is the code's business: arguments that do not fit it, or an end that it makes of its own run, speak
    against it. Where it states a value, what the language's own equality takes for that value is that value.
    """
    is_stated = basis is Basis.CONTEXT
    if Outcome.NOT_TRIED in (first.outcome, second.outcome):
        return Seen.NOT_RUN
    if _gave(first) != _gave(second):
        return Seen.FLAKY
    if first.outcome in _NOT_RUN:
        return Seen.BROKE if is_stated and _is_own_doing(first) else Seen.NOT_RUN
    if first.outcome in _EXHAUSTED:
        return Seen.EXHAUSTED
    if first.matches or (is_stated and first.is_equal):
        return Seen.MATCHED
    if first.outcome is Outcome.TIMED_OUT:
        return Seen.TIMED_OUT
    if first.alike:
        return Seen.ALIKE
    return Seen.RAISED if first.outcome is Outcome.RAISED else Seen.DIFFERED


def ruling(
    found: Seen, *, basis: Basis, votes: Votes, is_inside: bool, is_border: bool, is_last: bool
) -> Ruling | None:
    """Return the verdict; None: one more derivation has to be asked for first, unless `is_last`.

    `votes` counts the model's hypothesis and the references. `is_inside`: the input belongs to the stated contract. `is_border`:
    zero or a negative number, of which the context does not speak: there only three derivations without dissent make a FAIL.
    """
    match found:
        case Seen.NOT_RUN:
            return Ruling.NOT_APPLICABLE
        case Seen.FLAKY | Seen.EXHAUSTED:
            return Ruling.PARTIAL
        case Seen.MATCHED:
            return Ruling.PASS
        case Seen.ALIKE:
            return Ruling.PASS if votes.actual and basis is not Basis.CONTEXT else Ruling.PARTIAL
        case _ if basis is Basis.CONTEXT:
            return Ruling.FAIL
        case _ if not is_inside or votes.actual or votes.expected < _ENOUGH:
            return Ruling.PARTIAL
    return _contradicted(votes, is_border=is_border, is_last=is_last)


def _contradicted(votes: Votes, *, is_border: bool, is_last: bool) -> Ruling | None:
    if votes.expected >= _BEYOND_DOUBT and not (is_border and votes.other):
        return Ruling.FAIL
    if not is_last:
        return None
    return Ruling.PARTIAL if is_border or votes.other else Ruling.FAIL


def _gave(observation: Observation) -> tuple[Outcome, str | None, str, bool | None]:
    """Return what has to be the same in both runs. An error's text may hold an address; its type may not differ."""
    kind = (observation.error or "").partition(":")[0] if observation.outcome is Outcome.RAISED else ""
    return observation.outcome, observation.value, kind, observation.matches


def _is_own_doing(observation: Observation) -> bool:
    """Say whether a call that gave nothing failed over the code's own parameters, or over its leaving."""
    error = observation.error or ""
    if observation.outcome is Outcome.CRASHED:
        return error.startswith(ENDED_ITSELF)
    is_misfit = error.startswith("TypeError: ") and not error.endswith(_NAMES_NOTHING)
    has_value = (
        observation.expected is not None
    )  # where an error should come, one that is about the arguments settles nothing
    return observation.outcome is Outcome.BAD_PROBE and is_misfit and has_value
