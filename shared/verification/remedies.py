"""What to do about claims that did not hold: the model words it and writes the corrected unit, and a run tells whether it mends anything.

A reference that passes where the model's correction does not takes its place: it is code that has been seen to work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from shared.sandbox.model import Language, Probe
from shared.source.languages import can_be_run
from shared.source.lines import lines_of
from shared.verification import prompts
from shared.verification.candidates import is_source
from shared.verification.items import Action, Claim, Remediation, Ruling, Submitted, Verdict
from shared.verification.references import LIMITS
from shared.verification.rulings import Basis
from shared.verification.tools import Tools
from shared.verification.units import Unit

_OPEN = frozenset({Ruling.FAIL, Ruling.PARTIAL})
_MOST_UNITS = 8
_MOST_GUIDANCE_CHARS = 8_000
_UNCHECKED = "It was not run."
_UNWORDED = "Settle what is meant"


@dataclass(frozen=True)
class _Proposal:
    """One correction, and of which of the claims it was seen to mend."""

    title: str
    description: str
    action: Action
    code: str = field(repr=False)
    mended: Mapping[str, bool] = field(default_factory=dict)


def is_open(verdict: Verdict) -> bool:
    """Tell whether a verdict asks for something to be done."""
    return verdict.verdict in _OPEN


def remedies(
    submitted: Submitted, unit: Unit, pairs: Sequence[tuple[Claim, Verdict]], tools: Tools
) -> tuple[Remediation, ...]:
    """Return one remediation for each of the claims about `unit`, from one question to the model."""
    tools.check()
    worst = sorted(pairs, key=lambda pair: pair[1].verdict is not Ruling.FAIL)
    system, user = prompts.remedy(
        unit, [verdict.reasoning[:240] for _, verdict in worst], language=submitted.language, context=submitted.context
    )
    question = partial(
        tools.asker.ask,
        system=system,
        user=user,
        schema=prompts.remedy_schema(),
        name=prompts.REMEDY,
        max_tokens=prompts.REMEDY_MAX_TOKENS,
    )
    answer = tools.if_readable(question)
    if answer is None:
        return tuple(unworded(claim, verdict) for claim, verdict in pairs)
    code = "\n".join(answer["lines"])
    proposal = _Proposal(answer["title"], answer["description"], Action(answer["action"]), code)
    checked = _checked(submitted, unit, worst, proposal, tools)
    return tuple(_remediation(submitted, checked, claim) for claim, _ in pairs)


def unworded(claim: Claim, verdict: Verdict) -> Remediation:
    """Return the remediation of a claim without the model's words: beyond the first eight units, about no unit, or not to be read."""
    return Remediation(
        claim.id,
        f"{_UNWORDED}: {claim.assertion}"[:120],
        f"{verdict.reasoning} {_UNCHECKED}"[:1_000],
        Action.MODIFY,
        claim.severity,
        f"See to it that {claim.assertion}.",
    )


def by_unit(
    pairs: Iterable[tuple[Claim, Verdict]], units: Mapping[str, Unit]
) -> tuple[dict[str, list[tuple[Claim, Verdict]]], list[tuple[Claim, Verdict]]]:
    """Return the open claims by the unit they concern, the first eight units, and all others."""
    of_units: dict[str, list[tuple[Claim, Verdict]]] = {}
    others: list[tuple[Claim, Verdict]] = []
    for claim, verdict in pairs:
        name = claim.function or ""
        if name in units and (name in of_units or len(of_units) < _MOST_UNITS):
            of_units.setdefault(name, []).append((claim, verdict))
        else:
            others.append((claim, verdict))
    return of_units, others


def _checked(
    submitted: Submitted, unit: Unit, pairs: Sequence[tuple[Claim, Verdict]], proposal: _Proposal, tools: Tools
) -> _Proposal:
    """Return the proposal with what its run showed; a reference in its place where only that one mends."""
    if not can_be_run(submitted.language):
        return proposal
    language = Language(submitted.language)
    probes = {claim.id: claim.probe for claim, _ in pairs if claim.probe is not None}
    stated = frozenset(claim.id for claim, _ in pairs if claim.basis == Basis.CONTEXT)
    mended = _mended(submitted, unit, proposal.code, language, probes, stated, tools)
    if mended and all(mended.values()):
        return _Proposal(proposal.title, proposal.description, proposal.action, proposal.code, mended)
    for code in _references(pairs):
        other = _mended(submitted, unit, code, language, probes, stated, tools)
        if sum(other.values()) > sum(mended.values()):
            words = f"Replace the body of `{unit.name}` by one that gives the expected values"
            return _Proposal(words, f"{words}; this one was run and does.", Action.MODIFY, code.rstrip("\n"), other)
    return _Proposal(proposal.title, proposal.description, proposal.action, proposal.code, mended)


def _references(pairs: Sequence[tuple[Claim, Verdict]]) -> tuple[str, ...]:
    found = [one["code"] for _, verdict in pairs for one in verdict.transcript if one.get("by") == "reference"]
    return tuple(dict.fromkeys(found))


def _mended(
    submitted: Submitted,
    unit: Unit,
    code: str,
    language: Language,
    probes: Mapping[str, Probe],
    stated: frozenset[str],
    tools: Tools,
) -> dict[str, bool]:
    """Return of which claims the submitted code, with `code` in the unit's place, now gives the expected value.

    Those that are `stated` in the context are held to the language's own equality, as they are in the verdict.
    """
    is_it = unit.name in code or bool(unit.reached and unit.reached in code)
    if not probes or not is_it or not is_source(code, language):
        return dict.fromkeys(probes, False)
    lines = lines_of(submitted.code)
    whole = "".join([*lines[: unit.first_line - 1], code, "\n", *lines[unit.last_line :]])
    ran = tools.sandboxes.run(language, whole, list(probes.values()), limits=LIMITS, check=tools.check)
    return {
        name: bool(observation.matches) or (name in stated and bool(observation.is_equal))
        for name, observation in zip(probes, ran.observations, strict=True)
    }


def _remediation(submitted: Submitted, proposal: _Proposal, claim: Claim) -> Remediation:
    verified = proposal.mended.get(claim.id)
    told = {
        True: "Run with it, the claim holds.",
        False: "Run with it, the claim still does not hold.",
        None: _UNCHECKED,
    }
    return Remediation(
        claim.id,
        proposal.title,
        f"{proposal.description} {told[verified]}",
        proposal.action,
        claim.severity,
        proposal.code[:_MOST_GUIDANCE_CHARS],
        verified if can_be_run(submitted.language) else None,
    )
