"""What `lucid verify-code` says: lines for people, one JSON object, or one SARIF log for all files."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shared.verification.sarif import empty_log, failed_invocation

VERDICTS = {"failed": "FAIL", "partial": "PARTIAL"}
COUNTS = ("passed", "failed", "partial", "not_applicable", "total")


@dataclass(frozen=True)
class Outcome:
    """What became of one file: an answer of the service, or why there is none."""

    path: Path
    result: dict[str, Any] | None = None
    fault: str | None = None
    sarif: dict[str, Any] | None = None

    def count(self, name: str) -> int:
        """Return one of the answer's counts; 0 where there is no answer."""
        return int(((self.result or {}).get("verification") or {}).get(name) or 0)


def as_text(outcomes: Sequence[Outcome]) -> str:
    """Return a line a file and a line a finding, `path:line: VERDICT …`, as compilers write them.

    What was not looked at is told as well: a file with nothing found is not a file that was read whole.
    """
    lines = [line for outcome in outcomes for line in _lines_of(outcome)]
    return "\n".join(plain(line) for line in lines)


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return the service's own answers under the files' names, and their sums."""
    files = [
        {
            "path": outcome.path.as_posix(),
            **({"result": outcome.result} if outcome.result else {"error": outcome.fault}),
        }
        for outcome in outcomes
    ]
    sums = {name: sum(outcome.count(name) for outcome in outcomes) for name in COUNTS}
    unread = sum(outcome.result is None for outcome in outcomes)
    return json.dumps({"files": files, "summary": {**sums, "files": len(files), "not_verified": unread}}, indent=1)


def as_sarif(outcomes: Sequence[Outcome]) -> str:
    """Return one log with one run for all files: code hosts take no second run of one tool in one upload.

    Files that were not verified are told by an invocation that was no success. It is the first: some readers look at no other.
    """
    logs = [(outcome.path, copy.deepcopy(outcome.sarif)) for outcome in outcomes if outcome.sarif]
    merged: dict[str, Any] | None = None
    for path, log in logs:
        assert log is not None  # noqa: S101 - they were chosen so
        run = log["runs"][0]
        _put_in_name(run, _uri(path), len(merged["runs"][0]["artifacts"]) if merged else 0)
        if merged is None:
            merged = log
            continue
        for member in ("artifacts", "results", "invocations"):
            merged["runs"][0][member] += run[member]
    merged = merged or empty_log()
    faults = {_uri(outcome.path): str(outcome.fault) for outcome in outcomes if outcome.result is None}
    if faults:
        merged["runs"][0]["invocations"].insert(0, failed_invocation(faults))
    return json.dumps(merged, indent=1)


def plain(text: str) -> str:
    """Return a line without what would steer a terminal: it holds what a model wrote, or a name that anybody chose."""
    return "".join(char if char.isprintable() else " " for char in text)


def _lines_of(outcome: Outcome) -> Iterator[str]:
    if outcome.result is None:
        yield f"{outcome.path}: not verified: {outcome.fault}"
        return
    counts = (f"{outcome.count(name)} {name.replace('_', ' ')}" for name in COUNTS[:-1])
    yield f"{outcome.path}: {', '.join(counts)} ({outcome.result.get('request_id')})"
    claims = {claim["id"]: claim for claim in outcome.result["claims"]["items"]}
    fixes: dict[str, list[dict[str, Any]]] = {}
    for fix in outcome.result["remediation"]["items"]:
        fixes.setdefault(fix["claimId"], []).append(fix)
    for verdict in outcome.result["verification"]["items"]:
        claim = claims.get(verdict["claimId"], {})
        if verdict["verdict"] in VERDICTS.values():
            yield from _finding(outcome.path, verdict, claim, fixes)
        elif verdict["verdict"] == "N/A" and claim.get("basis") == "rule":
            yield f"{outcome.path}: N/A: {claim.get('description', '')}"


def _finding(
    path: Path, verdict: dict[str, Any], claim: dict[str, Any], fixes: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    lines = verdict.get("lines") or claim.get("lines") or {}
    where = f"{path}:{lines['first']}" if "first" in lines else f"{path}"
    about = " ".join(str(part) for part in (claim.get("severity"), claim.get("category")) if part)
    yield f"{where}: {verdict['verdict']} {about}: {claim.get('description', '')}".rstrip(": ")
    for label, text in (("asserted", claim.get("assertion")), ("found", verdict["reasoning"])):
        if text:
            yield f"    {label} ({verdict['evidence_kind']}): {text}" if label == "found" else f"    {label}: {text}"
    for fix in fixes.get(verdict["claimId"], []):
        yield f"    fix: {fix['title']}: {fix['codeGuidance']}"


def _put_in_name(run: dict[str, Any], uri: str, index: int) -> None:
    for artifact in run["artifacts"]:
        artifact["location"]["uri"] = uri
    for result in run["results"]:
        for location in result["locations"]:
            location["physicalLocation"]["artifactLocation"] = {"uri": uri, "index": index}


def _uri(path: Path) -> str:
    """Return a path as SARIF names files: relative to where the command runs, if it lies below."""
    try:
        return quote(os.fsencode(path.resolve().relative_to(Path.cwd()).as_posix()))
    except ValueError:
        return path.resolve().as_uri()
