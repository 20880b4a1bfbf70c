"""Claims that the text of the code decides: what static checks find, and whether code that cannot be run can at least be parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.source.checks import Finding, findings
from shared.verification.claims import static
from shared.verification.evidence import Listing
from shared.verification.items import Category, Claim, EvidenceKind, Ruling, Severity, Submitted, Verdict
from shared.verification.units import Unit

SYNTAX = "syntax"
_MOST_FINDINGS = 10
_PARSES = "The code parses."
_FAILS = frozenset({Severity.CRITICAL, Severity.HIGH})


def finding_claims(submitted: Submitted, units: Sequence[Unit], *, is_syntax_known: bool) -> tuple[Claim, ...]:
    """Return a claim for each of the first ten findings. With `is_syntax_known` the code has loaded: the grammar's doubts are void."""
    found = [
        one for one in findings(submitted.code, submitted.language) if not (is_syntax_known and one.rule == SYNTAX)
    ]
    claims = (_claim(finding, units) for finding in found)
    return tuple({claim.assertion: claim for claim in claims}.values())[:_MOST_FINDINGS]


def parsing() -> Claim:
    """Return the claim that code in a language that cannot be run can be parsed."""
    return static(
        _PARSES,
        "the grammar of the language should find no fault",
        lines=None,
        severity=Severity.CRITICAL,
        category=Category.CORRECTNESS,
    )


def static_verdicts(submitted: Submitted, claims: Sequence[Claim]) -> tuple[Verdict, ...]:
    """Return the verdicts on static claims, by looking again."""
    found = findings(submitted.code, submitted.language) if claims else []
    by_assertion: dict[str, Finding] = {_assertion(finding): finding for finding in reversed(found)}
    listing = Listing.of(submitted)
    return tuple(_verdict(claim, by_assertion, found, listing) for claim in claims)


def _claim(finding: Finding, units: Sequence[Unit]) -> Claim:
    claim = static(
        f"Line {finding.line} is free of this fault: {finding.message}.",
        _assertion(finding),
        lines=(finding.line, finding.line),
        severity=Severity(finding.severity),
        category=Category.CORRECTNESS,
    )
    unit = next((unit for unit in units if unit.first_line <= finding.line <= unit.last_line), None)
    return replace(claim, function=unit.name) if unit else claim


def _assertion(finding: Finding) -> str:
    return f"line {finding.line} should not have: {finding.message} ({finding.rule})"


def _verdict(claim: Claim, by_assertion: Mapping[str, Finding], found: Sequence[Finding], listing: Listing) -> Verdict:
    finding = by_assertion.get(claim.assertion)
    if claim.description == _PARSES:
        finding = next((one for one in found if one.rule == SYNTAX), None)
    if finding is None:
        return Verdict(claim.id, Ruling.PASS, "No fault is found.", "", EvidenceKind.STATIC, claim.lines)
    lines = (finding.line, finding.line)
    ruling = Ruling.FAIL if Severity(finding.severity) in _FAILS else Ruling.PARTIAL
    reasoning = f"Line {finding.line}: {finding.message} ({finding.rule})."
    return Verdict(claim.id, ruling, reasoning, listing.quoted(lines), EvidenceKind.STATIC, lines)
