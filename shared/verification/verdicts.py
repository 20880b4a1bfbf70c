"""Verdicts that come from runs: each claim's call twice against the code, and where they speak against it, the votes of the references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe
from shared.verification import evidence, references, round_trips
from shared.verification.candidates import is_inside, special
from shared.verification.claims import outcome_wanted, shown_call
from shared.verification.evidence import Listing
from shared.verification.items import Claim, EvidenceKind, Json, Ruling, Submitted, Verdict
from shared.verification.references import Reference
from shared.verification.rulings import CONTRADICTS, Basis, Seen, Votes, ruling, seen
from shared.verification.tools import Tools, side_by_side
from shared.verification.units import Unit

LIMITS = Limits(wall_s=8.0, run_s=60.0)
_AGAIN = replace(LIMITS, hash_seed=1)  # what hangs on the order of a set is seen to differ
_ONCE_MORE = replace(LIMITS, hash_seed=2)
_LATE = frozenset({Outcome.TIMED_OUT, Outcome.NOT_TRIED})
_LAST_REFERENCE = 4
_FEW = 3
_NEVER_LOADED = ("SyntaxError", "IndentationError", "TabError")


@dataclass
class _Case:
    """One claim with what ran for it."""

    claim: Claim
    probe: Probe
    observations: tuple[Observation, Observation]
    votes: Votes = field(default_factory=Votes)
    transcript: list[Json] = field(default_factory=list)

    @property
    def seen(self) -> Seen:
        return seen(*self.observations, basis=Basis(self.claim.basis))


def executed(
    submitted: Submitted, claims: Sequence[Claim], units: Mapping[str, Unit], tools: Tools
) -> tuple[Verdict, ...]:
    """Return the verdicts on claims that have probes, in order."""
    if not claims:
        return ()
    language = Language(submitted.language)
    cases = _run(submitted.code, language, claims, tools)
    _count_votes(submitted.code, language, cases, tools)
    _count_round_trips(submitted.code, language, cases, units, tools)
    undecided = [case for case in cases if _ruling(case, submitted, is_last=False) is None]
    _ask_once_more(submitted, undecided, cases, units, tools)
    listing = Listing.of(submitted)
    return tuple(_verdict(case, submitted, listing) for case in cases)


def _run(code: str, language: Language, claims: Sequence[Claim], tools: Tools) -> list[_Case]:
    probes = [claim.probe for claim in claims if claim.probe is not None]
    first, second = side_by_side(
        [partial(_observed, code, language, probes, tools, limits=limits) for limits in (LIMITS, _AGAIN)]
    )
    slow = [
        index
        for index, pair in enumerate(zip(first, second, strict=True))
        if (pair[0].outcome in _LATE) != (pair[1].outcome in _LATE)
        or {run.outcome for run in pair} == {Outcome.TIMED_OUT}  # both beside each other: it may have been the machine
    ]
    once_more = _observed(code, language, [probes[index] for index in slow], tools, limits=_ONCE_MORE)
    third = dict(zip(slow, once_more, strict=True))
    cases: list[_Case] = []
    for index, (claim, probe) in enumerate(zip(claims, probes, strict=True)):
        pair = _two_of_three(first[index], second[index], third.get(index))
        runs = [first[index], second[index], *([third[index]] if index in third else [])]
        cases.append(_Case(claim, probe, pair, transcript=evidence.of_code(probe, runs)))
    return cases


def _observed(
    code: str, language: Language, probes: Sequence[Probe], tools: Tools, *, limits: Limits = LIMITS
) -> tuple[Observation, ...]:
    if not probes:
        return ()
    return tools.sandboxes.run(language, code, probes, limits=limits, check=tools.check).observations


def _two_of_three(
    first: Observation, second: Observation, third: Observation | None
) -> tuple[Observation, Observation]:
    """Return the runs that count: one that a busy machine left too little time gives way to a third that had enough."""
    if third is None or (first.outcome is second.outcome and third.outcome is Outcome.NOT_TRIED):
        return first, second
    kept = second if first.outcome in _LATE else first
    slow = first if kept is second else second
    return (kept, third) if third.outcome not in _LATE else (slow, third)


def _count_votes(code: str, language: Language, cases: Sequence[_Case], tools: Tools) -> None:
    """Count the votes on the cases that speak against the code."""
    open_ones = [case for case in cases if case.seen in CONTRADICTS | {Seen.ALIKE}]
    _count_hypotheses(code, language, open_ones, tools)
    by_reference: dict[tuple[int, str], list[_Case]] = {}
    for case in open_ones:
        for derivation in case.claim.derivations:
            if derivation["by"] == "reference":
                by_reference.setdefault((derivation["number"], derivation["code"]), []).append(case)
    for (number, text), concerned in by_reference.items():
        _vote(Reference(number, text), language, concerned, cases, tools)


def _count_hypotheses(code: str, language: Language, cases: Sequence[_Case], tools: Tools) -> None:
    """Count the model's own value. Where the claim stands on another one, the code is run once more to see whose it is."""
    outvoted: list[tuple[_Case, Probe]] = []
    for case in cases:
        believed = next((one["gives"] for one in case.claim.derivations if one["by"] == "model"), None)
        if believed is None:
            continue
        if believed == _expected(case.probe):
            case.votes = replace(case.votes, expected=case.votes.expected + 1)
        else:
            outvoted.append((case, _probe_of(case.probe, believed)))
    given = _observed(code, language, [probe for _, probe in outvoted], tools)
    for (case, _), observation in zip(outvoted, given, strict=True):
        agrees = bool(observation.matches)
        case.votes = replace(case.votes, actual=case.votes.actual + agrees, other=case.votes.other + (not agrees))


def _count_round_trips(
    code: str, language: Language, cases: Sequence[_Case], units: Mapping[str, Unit], tools: Tools
) -> None:
    """Count the code's own way back, where it has one: of the expected and the given value, the one that it takes back to the input."""
    asked: list[tuple[_Case, Probe, Probe]] = []
    for case in cases:
        name = case.claim.function or ""
        inverse = round_trips.inverse_of(name, units)
        given = case.observations[0].actual
        if case.seen is not Seen.DIFFERED or inverse is None or case.probe.expected is None or given is None:
            continue
        expected = round_trips.way_back(case.probe, name, inverse, case.probe.expected)
        actual = round_trips.way_back(case.probe, name, inverse, given)
        if expected is not None and actual is not None:
            asked.append((case, expected, actual))
    probes = [probe for _, *both in asked for probe in both]
    found = _observed(code, language, probes, tools)
    for (case, *both), first, second in zip(asked, found[::2], found[1::2], strict=True):
        for probe, observation in zip(both, (first, second), strict=True):
            case.transcript.append(evidence.of_round_trip(probe, observation))
        if bool(first.matches) != bool(second.matches):
            votes = case.votes
            case.votes = replace(
                votes,
                expected=votes.expected + bool(first.matches),
                actual=votes.actual + bool(second.matches),
            )


def _expected(probe: Probe) -> str | None:
    return probe.expected if probe.raises is None else f"raises {probe.raises}"


def _probe_of(probe: Probe, believed: str) -> Probe:
    if believed.startswith("raises "):
        return replace(probe, expected=None, raises=believed.removeprefix("raises "))
    return replace(probe, expected=believed, raises=None)


def _vote(
    reference: Reference, language: Language, concerned: Sequence[_Case], cases: Sequence[_Case], tools: Tools
) -> None:
    """Count one reference's votes. One that misses most of what the others agree on for that function is not believed."""
    function = concerned[0].claim.function
    agreed = [case for case in cases if case.claim.function == function and case.claim.basis == Basis.AGREED]
    asked = list({id(case): case for case in (*agreed, *concerned)}.values())
    given = references.tried(reference, language, [case.probe for case in asked], tools)
    by_case = {id(case): observation for case, observation in zip(asked, given, strict=True)}
    right = sum(bool(by_case[id(case)].matches) for case in agreed)
    is_believed = len(agreed) < _FEW or right * 2 > len(agreed)
    for case in concerned:
        observation = by_case[id(case)]
        case.transcript.append(evidence.of_reference(reference.number, reference.code, observation))
        case.votes = _with(case.votes, observation, case.observations[0], is_believed=is_believed)


def _with(votes: Votes, observation: Observation, own: Observation, *, is_believed: bool) -> Votes:
    """Return the votes with that of a reference: one that raises where the code returns says something else too.

    One that timed out, broke down or knows nothing of the call has no vote; one that is not believed still speaks for the code.
    """
    both_raised = observation.outcome is own.outcome is Outcome.RAISED
    both_returned = observation.outcome is own.outcome is Outcome.RETURNED
    if (both_raised and not observation.matches) or (both_returned and observation.actual == own.actual):
        return replace(votes, actual=votes.actual + 1)
    if not is_believed or observation.outcome not in (Outcome.RETURNED, Outcome.RAISED):
        return votes
    if observation.matches:
        return replace(votes, expected=votes.expected + 1)
    return replace(votes, other=votes.other + 1)


def _ask_once_more(
    submitted: Submitted, undecided: Sequence[_Case], cases: Sequence[_Case], units: Mapping[str, Unit], tools: Tools
) -> None:
    """Have one more reference written for each unit whose cases hang on a vote."""
    for name in dict.fromkeys(case.claim.function for case in undecided):
        concerned = [case for case in undecided if case.claim.function == name]
        unit = units.get(name or "")
        if unit is None:
            continue
        calls = [case.probe.call for case in concerned]
        for reference in references.written(unit, submitted, calls, tools, numbers=[_LAST_REFERENCE]):
            _vote(reference, Language(submitted.language), concerned, cases, tools)


def _ruling(case: _Case, submitted: Submitted, *, is_last: bool) -> Ruling | None:
    if case.claim.function is None:
        return _of_loading(case)
    return ruling(
        case.seen,
        basis=Basis(case.claim.basis),
        votes=case.votes,
        is_inside=is_inside(case.probe, submitted.context),
        is_border=bool(special(case.probe, submitted.context)),
        is_last=is_last,
    )


def _of_loading(case: _Case) -> Ruling:
    """Return the verdict on the loading of the code itself: what is no code at all fails; what needs other parts cannot be judged."""
    observation = case.observations[0]
    if observation.outcome in (Outcome.REFUSED, Outcome.NOT_TRIED):
        return Ruling.NOT_APPLICABLE
    if observation.outcome is not Outcome.NOT_LOADED:
        return Ruling.PASS if observation.outcome is Outcome.RETURNED else Ruling.PARTIAL
    kind = (observation.error or "").partition(":")[0]
    if kind in _NEVER_LOADED:
        return Ruling.FAIL
    return Ruling.NOT_APPLICABLE if "Module" in kind or "Import" in kind else Ruling.PARTIAL


def _verdict(case: _Case, submitted: Submitted, listing: Listing) -> Verdict:
    found = _ruling(case, submitted, is_last=True) or Ruling.PARTIAL
    lines = listing.concerned(case.claim)
    has_run = case.seen is not Seen.NOT_RUN or case.claim.function is None
    return Verdict(
        claim_id=case.claim.id,
        verdict=found,
        reasoning=" ".join(_reasons(case, found, submitted)),
        evidence=listing.quoted(lines),
        evidence_kind=EvidenceKind.EXECUTED if has_run else EvidenceKind.NONE,
        lines=lines,
        transcript=tuple(case.transcript),
    )


def _reasons(case: _Case, found: Ruling, submitted: Submitted) -> Iterable[str]:
    first, second = case.observations
    call = shown_call(case.probe) if case.claim.function else "Loading the code"
    if Outcome.NOT_TRIED in (first.outcome, second.outcome):
        yield f"{call} was not run twice: no time was left for it."
        return
    yield f"{call} {evidence.outcome(first)}."
    if case.seen is Seen.FLAKY:
        yield f"A second run was different: it {evidence.outcome(second)}. What it gives depends on more than its input."
    if case.seen is Seen.ALIKE:
        yield f"It should {outcome_wanted(case.probe)}: the same but for its type."
    if case.seen not in CONTRADICTS or case.claim.function is None:
        return
    yield f"It should {outcome_wanted(case.probe)}."
    yield _source(case)
    if found is Ruling.PARTIAL:
        yield _doubt(case, submitted)


def _source(case: _Case) -> str:
    if case.claim.basis == Basis.CONTEXT:
        return "The context says so."
    votes = case.votes
    return (
        f"Of the independent derivations of that value, {votes.expected} give it, {votes.actual} give what the code gives, "
        f"{votes.other} give something else."
    )


def _doubt(case: _Case, submitted: Submitted) -> str:
    if not is_inside(case.probe, submitted.context):
        return "The input is out of the ordinary and the context says nothing of it, so that neither value is called wrong."
    return "That is too little to call either value wrong."
