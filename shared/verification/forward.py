"""The stages of `forward`: claims from the code, verdicts from runs, remediations for what did not hold.

The model proposes: calls with values, second implementations, corrections. What is decided is decided by what ran, or by rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from shared.sandbox.model import Language, Outcome, Probe
from shared.source.languages import can_be_parsed, can_be_run
from shared.verification import prompts, references
from shared.verification.candidates import candidates, example_probe, is_inside, observing, reaching, says_nothing
from shared.verification.claims import executed, exemplary, loading, numbered, untestable
from shared.verification.derivations import Settled, changing, settled
from shared.verification.examples import Example, examples
from shared.verification.excerpts import ShownCode, listed, shown_code
from shared.verification.items import Claim, Remediation, Ruling, Submitted, Verdict
from shared.verification.opinions import beside, opinions
from shared.verification.references import Reference
from shared.verification.remedies import by_unit, is_open, remedies, unworded
from shared.verification.rulings import Basis
from shared.verification.static import finding_claims, parsing, static_verdicts
from shared.verification.tools import FaultCode, StageFailed, Tools
from shared.verification.units import MOST_SHOWN_CHARS, MOST_UNITS, Unit, units
from shared.verification.variations import variations
from shared.verification.verdicts import LIMITS
from shared.verification.verdicts import executed as executed_verdicts

_CLAIMS_OF_ALL = 36
_FEWEST_OF_ONE = 3
_MOST_OF_ONE = 8
_REFERENCES = (1, 2)
_SPARE_REFERENCE = 3
_FIRST_SEED = 7
_FEW = 4
_LEFT_FOR_VARIATIONS = 2
_BOLD = Decimal("0.3")
_BOLDER = Decimal("0.8")
_NOTHING_TO_CALL = (
    "The code declares no function and no class that could be called from outside, so that nothing of it can be run."
)
_NO_CLAIMS = "The model gave no claim that can be checked."
_NOTHING_SEEN = (
    "returns nothing, and no call was found that changes what it is given; whatever else it does is not looked at"
)
_NOT_CALLED = "was not run, as the model gave no call of it that can be"
_IN_PLACE = re.compile(r"\bin[- ]place\b|\bmutat", re.IGNORECASE)


def extract(submitted: Submitted, tools: Tools) -> tuple[Claim, ...]:
    """Return what the code is held to, at most 40 claims and never none. Raises `StageFailed`."""
    found = units(submitted.code, submitted.language)
    if not can_be_run(submitted.language):
        parses = (parsing(),) if can_be_parsed(submitted.language) else ()
        return numbered([*parses, *finding_claims(submitted, found, is_syntax_known=False), *_worded(submitted, tools)])
    if not _loads(submitted, tools):
        faults = finding_claims(submitted, found, is_syntax_known=False)
        return numbered([loading(), *faults, *_worded(submitted, tools)])
    faults = finding_claims(submitted, found, is_syntax_known=True)
    if not found:
        return numbered([*faults, untestable(_NOTHING_TO_CALL, basis=Basis.RULE)])
    claims = [*_examples(submitted, found), *_of_units(submitted, found, tools)]
    if not claims and not faults and not any(unit.is_silent for unit in found[:MOST_UNITS]):
        raise StageFailed(FaultCode.UPSTREAM_ERROR, _NO_CLAIMS)
    return numbered([*faults, *_passed_over(found), *claims, *_without_claims(found[:MOST_UNITS], claims)])


def verify(submitted: Submitted, claims: Sequence[Claim], tools: Tools) -> tuple[Verdict, ...]:
    """Return one verdict for each claim, in their order."""
    found = {unit.name: unit for unit in units(submitted.code, submitted.language)}
    run = [claim for claim in claims if claim.probe is not None and can_be_run(submitted.language)]
    looked_at = [claim for claim in claims if claim.testable and claim.probe is None]
    decided = {
        verdict.claim_id: verdict
        for verdict in (*executed_verdicts(submitted, run, found, tools), *static_verdicts(submitted, looked_at))
    }
    verdicts = [decided.get(claim.id) or _undecidable(claim) for claim in claims]
    return _with_opinions(submitted, claims, verdicts, tools)


def remediate(
    submitted: Submitted, claims: Sequence[Claim], verdicts: Sequence[Verdict], tools: Tools
) -> tuple[Remediation, ...]:
    """Return one remediation for each claim that is FAIL or PARTIAL, in the claims' order; none, and no question, without such."""
    by_id = {verdict.claim_id: verdict for verdict in verdicts}
    pairs = [(claim, by_id[claim.id]) for claim in claims if claim.id in by_id and is_open(by_id[claim.id])]
    found = {unit.name: unit for unit in units(submitted.code, submitted.language)}
    of_units, others = by_unit(pairs, found)
    done = [unworded(claim, verdict) for claim, verdict in others]
    for name, concerned in of_units.items():
        done += remedies(submitted, found[name], concerned, tools)
    return tuple(sorted(done, key=lambda remediation: remediation.claim_id))


def _loads(submitted: Submitted, tools: Tools) -> bool:
    language = Language(submitted.language)
    ran = tools.sandboxes.run(language, submitted.code, [Probe("0")], limits=LIMITS, check=tools.check)
    return ran.observations[0].outcome is Outcome.RETURNED


def _examples(submitted: Submitted, found: Sequence[Unit]) -> Iterator[Claim]:
    """Yield the claims that the context itself makes."""
    by_name = {unit.name: unit for unit in found}
    for example in examples(submitted.context, list(by_name), Language(submitted.language)):
        unit = _unit_of(example, found)
        if unit is not None:
            yield _example(submitted, unit, replace(example, call=reaching(example.call, unit)))


def _example(submitted: Submitted, unit: Unit, example: Example) -> Claim:
    """Return an example's claim. What a function that works in place "gives" is what it leaves of its argument."""
    works_in_place = unit.is_silent and not unit.is_class and _IN_PLACE.search(submitted.context or "") is not None
    look = observing(example_probe(example), unit, Language(submitted.language)) if works_in_place else None
    if look is None or look[0].expected is None:
        return exemplary(unit, example, submitted.context)
    return executed(unit, Settled(look[0], Basis.CONTEXT, ()), submitted.context)


def _unit_of(example: Example, found: Sequence[Unit]) -> Unit | None:
    called = example.call.removeprefix("new ").partition("(")[0].strip()
    return next((unit for unit in found if unit.name == called), None)


def _of_units(submitted: Submitted, found: Sequence[Unit], tools: Tools) -> list[Claim]:
    looked_at = found[:MOST_UNITS]
    most = max(_FEWEST_OF_ONE, min(_MOST_OF_ONE, _CLAIMS_OF_ALL // len(looked_at)))
    return [claim for unit in looked_at for claim in _of_unit(submitted, unit, tools, most)]


def _of_unit(submitted: Submitted, unit: Unit, tools: Tools, most: int) -> list[Claim]:
    asked_for = max(_FEWEST_OF_ONE, most - _LEFT_FOR_VARIATIONS)
    probes = _tests(submitted, unit, tools, asked_for, seed=_FIRST_SEED)
    written: tuple[Reference, ...] = ()
    found: tuple[Settled, ...] = ()
    if len(probes) >= min(_FEW, asked_for):
        written = _references(submitted, unit, probes, tools)
        found = _settled(submitted, unit, probes, written, tools)
    if not found and not (written and unit.is_silent):
        others = _tests(submitted, unit, tools, asked_for, seed=_FIRST_SEED + 1, temperature=_BOLDER)
        probes = tuple({(probe.setup, probe.call): probe for probe in (*others, *probes)}.values())[:asked_for]
        written = written or (_references(submitted, unit, probes, tools) if probes else ())
        found = _settled(submitted, unit, probes, written, tools)
    return [executed(unit, one, submitted.context) for one in found[:most]]


def _references(submitted: Submitted, unit: Unit, probes: Sequence[Probe], tools: Tools) -> tuple[Reference, ...]:
    """Return two implementations; where one of the first two is unusable, a third takes its place."""
    calls = [probe.call for probe in probes]
    written = references.written(unit, submitted, calls, tools, numbers=_REFERENCES)
    if len(written) < len(_REFERENCES):
        written += references.written(unit, submitted, calls, tools, numbers=[_SPARE_REFERENCE])
    return written


def _settled(
    submitted: Submitted, unit: Unit, probes: Sequence[Probe], written: Sequence[Reference], tools: Tools
) -> tuple[Settled, ...]:
    """Return the settled calls; those outside of the contract go where not all agree on them and enough others remain."""
    every = [*probes, *variations(probes, submitted.context)]
    found = settled(every, written, Language(submitted.language), tools)
    if unit.is_silent and not unit.is_class:
        found = _of_arguments(submitted, unit, every, found, written, tools)
    found = tuple(one for one in found if not says_nothing(one.probe, unit))
    kept = tuple(one for one in found if one.is_unanimous or is_inside(one.probe, submitted.context))
    return kept if len(kept) >= _FEWEST_OF_ONE else found


def _of_arguments(
    submitted: Submitted,
    unit: Unit,
    probes: Sequence[Probe],
    found: tuple[Settled, ...],
    written: Sequence[Reference],
    tools: Tools,
) -> tuple[Settled, ...]:
    """Return what is settled of the arguments that a function without a result changes, and what it raises; `found` if it changes none.

    Where the derivations agree on a result that it should have, that is what it is held to, unless the context says "in place".
    """
    language, context = Language(submitted.language), submitted.context or ""
    is_in_place = _IN_PLACE.search(context) is not None
    has_result = any(
        one.basis is Basis.AGREED
        and one.probe.raises is None
        and not says_nothing(one.probe, replace(unit, raising=frozenset()))
        for one in found
    )
    looks = [look for probe in probes if (look := observing(probe, unit, language)) is not None]
    if not looks or (has_result and not is_in_place):
        return found
    believed = changing(looks, written, language, tools)
    if not believed and not is_in_place:
        return found
    raised = tuple(one for one in found if one.probe.raises is not None)
    return (*settled([probe for probe, _ in looks], believed, language, tools), *raised)


def _tests(
    submitted: Submitted, unit: Unit, tools: Tools, most: int, *, seed: int, temperature: Decimal = _BOLD
) -> tuple[Probe, ...]:
    tools.check()
    system, user = prompts.tests(unit, language=submitted.language, context=submitted.context, most=most)
    answer = tools.asker.ask(
        system=system,
        user=user,
        schema=prompts.tests_schema(unit, most),
        name=prompts.TESTS,
        max_tokens=prompts.TESTS_MAX_TOKENS,
        temperature=temperature,
        seed=seed,
    )
    return candidates(answer, unit, language=Language(submitted.language), context=submitted.context)[:most]


def _passed_over(found: Sequence[Unit]) -> list[Claim]:
    """Return the claim that says which functions nobody looked at."""
    left = [unit.name for unit in found[MOST_UNITS:]]
    if not left:
        return []
    names = ", ".join(left[:20])
    return [
        untestable(f"Not looked at, as one request covers {MOST_UNITS} functions: {names}."[:600], basis=Basis.RULE)
    ]


def _without_claims(found: Sequence[Unit], claims: Sequence[Claim]) -> Iterator[Claim]:
    """Yield a claim for each function that has none, and say why: nothing about it is known, which is no good news."""
    about = {claim.function for claim in claims}
    for unit in found:
        if unit.name not in about:
            why = _NOTHING_SEEN if unit.is_silent else _NOT_CALLED
            yield untestable(f"`{unit.name}` {why}.", unit=unit, basis=Basis.RULE)


def _worded(submitted: Submitted, tools: Tools) -> list[Claim]:
    """Return claims in the model's words about code that cannot be run here, and one that says what of it nobody looked at."""
    tools.check()
    shown = _shown(submitted)
    system, user = prompts.statements(shown.text, language=submitted.language, context=submitted.context)
    answer = tools.asker.ask(
        system=system,
        user=user,
        schema=prompts.statements_schema(),
        name=prompts.STATEMENTS,
        max_tokens=prompts.STATEMENTS_MAX_TOKENS,
    )
    worded = [untestable(claim["description"]) for claim in answer["claims"]]
    return [*_not_shown(shown), *worded]


def _not_shown(shown: ShownCode) -> Iterator[Claim]:
    if shown.passed_over:
        why = f"as one question holds {MOST_SHOWN_CHARS:,} characters"
        words = f"Not looked at, or not wholly, {why}: {listed(shown.passed_over)}."
        yield untestable(words[:600], basis=Basis.RULE)


def _shown(submitted: Submitted) -> ShownCode:
    return shown_code(submitted.code, submitted.language, MOST_SHOWN_CHARS)


def _undecidable(claim: Claim) -> Verdict:
    reason = "No run can decide this claim." if claim.basis != Basis.RULE else claim.description
    return Verdict(claim.id, Ruling.NOT_APPLICABLE, reason)


def _with_opinions(
    submitted: Submitted, claims: Sequence[Claim], verdicts: Sequence[Verdict], tools: Tools
) -> tuple[Verdict, ...]:
    """Return the verdicts, those of N/A with the model's opinion beside them."""
    by_id = {verdict.claim_id: verdict for verdict in verdicts}
    open_ones = [
        claim
        for claim in claims
        if by_id[claim.id].verdict is Ruling.NOT_APPLICABLE and (claim.basis != Basis.RULE or claim.probe is not None)
    ]
    shown = _shown(submitted)
    seen = {claim.id: claim.description for claim in open_ones if claim.function not in shown.passed_over}
    held = opinions(submitted, shown.text, seen, tools)
    return tuple(beside(verdict, held.get(verdict.claim_id)) for verdict in verdicts)
