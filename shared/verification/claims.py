"""The wording and the weight of claims: made by rule from what is run, so that a claim says what is checked and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shared.sandbox.model import Probe
from shared.verification.candidates import looks_at_arguments, special
from shared.verification.derivations import Settled
from shared.verification.examples import Example
from shared.verification.items import Category, Claim, Json, Lines, Severity
from shared.verification.rulings import Basis
from shared.verification.traits import BORDER, Trait
from shared.verification.units import Unit

MOST_CLAIMS = 40
_UNNUMBERED = ""


def executed(unit: Unit, settled: Settled, context: str | None) -> Claim:
    """Return the claim that a call of `unit` gives the settled value."""
    return _about_call(unit, settled.probe, context, basis=settled.basis, derivations=settled.derivations)


def exemplary(unit: Unit, example: Example, context: str | None) -> Claim:
    """Return the claim that an example in the context holds."""
    probe = Probe(call=example.call, expected=example.expected, raises=example.raises)
    return _about_call(unit, probe, context, basis=Basis.CONTEXT, derivations=())


def static(description: str, assertion: str, *, lines: Lines | None, severity: Severity, category: Category) -> Claim:
    """Return a claim that the text of the code decides, without a run."""
    return Claim(_UNNUMBERED, category, severity, description, assertion, testable=True, lines=lines, basis=Basis.RULE)


def loading() -> Claim:
    """Return the claim that the code can be loaded at all."""
    return Claim(
        _UNNUMBERED,
        Category.CORRECTNESS,
        Severity.CRITICAL,
        "The code loads without an error.",
        "loading the code should raise nothing",
        testable=True,
        probe=Probe(call="0"),
        basis=Basis.RULE,
    )


def untestable(description: str, *, unit: Unit | None = None, basis: Basis = Basis.MODEL) -> Claim:
    """Return a claim that no run can decide. Its weight is unknown, so it has little."""
    return Claim(
        _UNNUMBERED,
        Category.CORRECTNESS,
        Severity.LOW,
        description,
        description,
        testable=False,
        function=unit.name if unit else None,
        lines=(unit.first_line, unit.last_line) if unit else None,
        basis=basis,
    )


def numbered(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Return the claims, each once, at most 40, as CLAIM-001 and on; of more, the last says how many were left out."""
    once: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        once.setdefault((claim.assertion, claim.function or ""), claim)
    kept = list(once.values())
    if len(kept) > MOST_CLAIMS:
        kept = [*kept[: MOST_CLAIMS - 1], _left_out(kept[MOST_CLAIMS - 1 :])]
    return tuple(replace(claim, id=f"CLAIM-{number:03d}") for number, claim in enumerate(kept, 1))


def shown_call(probe: Probe) -> str:
    """Return the call as a sentence shows it, its setup before it."""
    setup = "; ".join(line.strip() for line in probe.setup.splitlines() if line.strip())
    return f"{setup}; {probe.call}" if setup else probe.call


def outcome_wanted(probe: Probe) -> str:
    """Return what the probe expects, in words."""
    if probe.raises is not None:
        return "raise an error" if probe.raises == "*" else f"raise {probe.raises}"
    return f"{'be' if looks_at_arguments(probe) else 'return'} {probe.expected}"


def _left_out(claims: Sequence[Claim]) -> Claim:
    """Return the claim that says what nobody looked at."""
    functions = ", ".join(dict.fromkeys(f"`{claim.function}`" for claim in claims if claim.function))
    about = f", about {functions}" if functions else ""
    told = f"Not looked at, as one verification holds {MOST_CLAIMS} claims: {len(claims)} more{about}."
    return untestable(told[:600], basis=Basis.RULE)


def _about_call(unit: Unit, probe: Probe, context: str | None, *, basis: Basis, derivations: Sequence[Json]) -> Claim:
    found = special(probe, context)
    category, severity = _weight(probe, found, basis)
    wanted = outcome_wanted(probe)
    does = "should change its arguments to" if looks_at_arguments(probe) else "should"
    return Claim(
        _UNNUMBERED,
        category,
        severity,
        f"`{unit.name}` {does} {wanted} for `{shown_call(probe)}`{_SOURCE.get(basis, '')}.",
        f"{shown_call(probe)} should {wanted}",
        testable=True,
        function=unit.name,
        lines=(unit.first_line, unit.last_line),
        probe=probe,
        basis=basis,
        derivations=tuple(derivations),
    )


_SOURCE = {Basis.CONTEXT: ", as the context says"}


def _weight(probe: Probe, found: frozenset[Trait], basis: Basis) -> tuple[Category, Severity]:
    """Return category and severity: an ordinary wrong value weighs most, an input nobody spoke of least."""
    if probe.raises is not None:
        return Category.ERROR_HANDLING, Severity.HIGH if basis is Basis.CONTEXT else Severity.MEDIUM
    if Trait.OTHER_KIND in found or Trait.NOTHING in found:
        return Category.TYPE_SAFETY, Severity.LOW
    if found - BORDER:
        return Category.EDGE_CASE, Severity.MEDIUM
    if found:
        return Category.EDGE_CASE, Severity.HIGH
    return Category.CORRECTNESS, Severity.CRITICAL
