"""What failed in a verification, as a SARIF 2.1.0 log (OASIS, March 2020): the form that code hosts and editors read.

Only FAIL and PARTIAL become results: readers show every result as a problem. The counts of all verdicts stand at the artifact.
Files that were not verified are no results: an invocation says so that was no success, since a log without results reads as clean.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.source.languages import suffix_of
from shared.verification.items import Category, Claim, Remediation, Ruling, Severity, Verdict
from shared.verification.model import ForwardResult, Verification, VerificationView

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERSION = "2.1.0"
FINGERPRINT = "lucidClaim/v1"
"""The same for the same assertion about the same function, wherever it then stands."""

_LINE = re.compile(r"^line \d+ ")
"""How the assertion of a static rule begins."""
_BYTE_ORDER_MARK = "\ufeff"
"""May stand before the first line, and is no part of it."""
_SHOWN = frozenset({Ruling.FAIL, Ruling.PARTIAL})
_CATEGORIES = tuple(Category)
_ABOUT = {
    Category.CORRECTNESS: "The code does something else than it should.",
    Category.SECURITY: "The code can be made to do harm.",
    Category.PERFORMANCE: "The code takes more than it should.",
    Category.ERROR_HANDLING: "The code meets a failure in the wrong way.",
    Category.EDGE_CASE: "The code is wrong at the edge of its inputs.",
    Category.TYPE_SAFETY: "The code treats a value as what it is not.",
}
_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}


def sarif_log(view: VerificationView, *, version: str) -> dict[str, Any]:
    """Return the log of a complete forward run. `version`: of this software.

    A FAIL is an error where it is critical or high, a warning where it is medium, a note where it is low; a PARTIAL is a warning
    at most. The artifact is called `code` with the language's suffix: whoever knows the file's name puts it in.
    """
    result = view.forward or ForwardResult()
    claims = {claim.id: claim for claim in result.claims or ()}
    guidance = {remediation.claim_id: remediation for remediation in result.remediations or ()}
    uri = f"code{suffix_of(view.verification.language)}"
    results = [
        _result(claims[verdict.claim_id], verdict, guidance.get(verdict.claim_id), uri)
        for verdict in result.verdicts or ()
        if verdict.verdict in _SHOWN and verdict.claim_id in claims
    ]
    log = empty_log()
    run = log["runs"][0]
    run["tool"]["driver"]["version"] = version
    run["invocations"].append(_invocation(view.verification))
    run["artifacts"].append(_artifact(view, result, uri))
    run["results"] += results
    return log


def empty_log() -> dict[str, Any]:
    """Return a log without results, filed where those with results are: for whoever has nothing to add to it, or only faults."""
    run = {
        "tool": {"driver": {"name": "LUCID", "rules": [_rule(one) for one in _CATEGORIES]}},
        "automationDetails": {"id": "lucid/verify-code/"},
        "invocations": [],
        "artifacts": [],
        "results": [],
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def failed_invocation(faults: Mapping[str, str]) -> dict[str, Any]:
    """Return an invocation that did not verify some files (section 3.20). `faults`: why, under each file's URI."""
    notifications = [
        {
            "level": "error",
            "message": {"text": f"not verified: {fault}"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}}}],
        }
        for uri, fault in faults.items()
    ]
    return {"executionSuccessful": False, "toolExecutionNotifications": notifications}


def _rule(category: Category) -> dict[str, Any]:
    return {"id": f"lucid/{category}", "name": str(category), "shortDescription": {"text": _ABOUT[category]}}


def _result(claim: Claim, verdict: Verdict, remediation: Remediation | None, uri: str) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}}}
    lines = verdict.lines or claim.lines
    if lines is not None:
        region: dict[str, Any] = {"startLine": lines[0], "endLine": lines[1]}
        location["physicalLocation"]["region"] = region
        if verdict.evidence:
            region["snippet"] = {"text": verdict.evidence.removeprefix(_BYTE_ORDER_MARK)}
    if claim.function:
        location["logicalLocations"] = [{"fullyQualifiedName": claim.function, "kind": "function"}]
    return {
        "ruleId": f"lucid/{claim.category}",
        "ruleIndex": _CATEGORIES.index(claim.category),
        "level": _level(claim.severity, verdict.verdict),
        "message": {"text": _message(claim, verdict)},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: _fingerprint(claim)},
        "properties": _properties(claim, verdict, remediation),
    }


def _level(severity: Severity, ruling: Ruling) -> str:
    level = _LEVELS[severity]
    return "warning" if level == "error" and ruling is not Ruling.FAIL else level


def _message(claim: Claim, verdict: Verdict) -> str:
    said = [part.strip() for part in (claim.description, verdict.reasoning) if part.strip()]
    return " — ".join(said) or claim.assertion or claim.id


def _fingerprint(claim: Claim) -> str:
    parts = (str(claim.category), claim.function or "", _LINE.sub("line ", claim.assertion))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _properties(claim: Claim, verdict: Verdict, remediation: Remediation | None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "claimId": claim.id,
        "verdict": str(verdict.verdict),
        "severity": str(claim.severity),
        "evidence_kind": str(verdict.evidence_kind),
        "assertion": claim.assertion,
    }
    if remediation is not None:
        properties |= {"remediation": remediation.title, "codeGuidance": remediation.code_guidance}
    return properties


def _artifact(view: VerificationView, result: ForwardResult, uri: str) -> dict[str, Any]:
    counts = Counter(verdict.verdict for verdict in result.verdicts or ())
    properties: dict[str, Any] = {
        "request_id": view.verification.request_id,
        "receipt_id": view.receipt_id,
        "passed": counts[Ruling.PASS],
        "failed": counts[Ruling.FAIL],
        "partial": counts[Ruling.PARTIAL],
        "not_applicable": counts[Ruling.NOT_APPLICABLE],
        "total": len(result.verdicts or ()),
    }
    artifact: dict[str, Any] = {
        "location": {"uri": uri},
        "sourceLanguage": view.verification.language,
        "properties": _without_none(properties),
    }
    if view.submitted is not None:
        code = view.submitted.code.encode("utf-8", "replace")
        artifact |= {"length": len(code), "hashes": {"sha-256": hashlib.sha256(code).hexdigest()}}
    return artifact


def _invocation(run: Verification) -> dict[str, Any]:
    times = {"startTimeUtc": _moment(run.started_at or run.created_at), "endTimeUtc": _moment(run.ended_at)}
    return {"executionSuccessful": True, **_without_none(times)}


def _moment(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else None


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
