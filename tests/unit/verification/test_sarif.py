"""What failed in a verification as SARIF 2.1.0: the parts that its schema requires, and what readers make of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from cli.verification_report import Outcome, as_sarif
from shared.verification.items import (
    Action,
    Category,
    Claim,
    EvidenceKind,
    Remediation,
    Ruling,
    Severity,
    Submitted,
    Verdict,
)
from shared.verification.model import (
    ForwardResult,
    Pipeline,
    Stage,
    Tally,
    Verification,
    VerificationState,
    VerificationView,
)
from shared.verification.sarif import FINGERPRINT, sarif_log

CODE = "def add(a, b):\n    return a - b\n"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def a_form(required: str = "", **properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has these members and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


TEXT = {"type": "string"}
INDEX = {"type": "integer", "minimum": 0}
BAG = {"type": "object"}
MESSAGE = a_form("text", text={"type": "string", "minLength": 1})
PLACE = a_form("uri", uri={"type": "string", "format": "uri-reference"}, index=INDEX)
REGION = a_form(
    "startLine",
    startLine={"type": "integer", "minimum": 1},
    endLine={"type": "integer", "minimum": 1},
    snippet=a_form("text", text=TEXT),
)
LOCATION = a_form(
    "physicalLocation",
    physicalLocation=a_form("artifactLocation", artifactLocation=PLACE, region=REGION),
    logicalLocations={"type": "array", "items": a_form("", fullyQualifiedName=TEXT, kind=TEXT)},
)
RESULT = a_form(
    "message ruleId level locations",
    ruleId=TEXT,
    ruleIndex=INDEX,
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations={"type": "array", "items": LOCATION, "minItems": 1},
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    properties=BAG,
)
NOTIFICATION = a_form(
    "message",
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations={"type": "array", "items": LOCATION, "uniqueItems": True},
)
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
RUN = a_form(
    "tool results",
    tool=a_form(
        "driver",
        driver=a_form(
            "name",
            name=TEXT,
            version=TEXT,
            rules={
                "type": "array",
                "uniqueItems": True,
                "items": a_form("id", id=TEXT, name=TEXT, shortDescription=MESSAGE),
            },
        ),
    ),
    automationDetails=a_form("", id=TEXT),
    invocations={
        "type": "array",
        "items": a_form(
            "executionSuccessful",
            executionSuccessful={"type": "boolean"},
            startTimeUtc=MOMENT,
            endTimeUtc=MOMENT,
            toolExecutionNotifications={"type": "array", "items": NOTIFICATION},
        ),
    },
    artifacts={
        "type": "array",
        "uniqueItems": True,
        "items": a_form(
            "location", location=PLACE, sourceLanguage=TEXT, properties=BAG, length=INDEX, hashes={"type": "object"}
        ),
    },
    results={"type": "array", "items": RESULT},
)
SARIF = a_form(
    "version runs",
    version={"const": "2.1.0"},
    runs={"type": "array", "items": RUN, "minItems": 1},
    **{"$schema": {"type": "string", "format": "uri"}},
)
"""The objects of the OASIS schema that we write, with what it requires of them and no member that it does not know."""


def a_claim(number: int, severity: Severity = Severity.CRITICAL, category: Category = Category.CORRECTNESS) -> Claim:
    return Claim(
        id=f"CLAIM-{number:03}",
        category=category,
        severity=severity,
        description="add adds",
        assertion=f"add({number}, 2) should return {number + 2}",
        testable=True,
        function="add",
        lines=(1, 2),
    )


def a_view(*rulings: tuple[Ruling, Severity]) -> VerificationView:
    claims = tuple(a_claim(number, severity) for number, (_, severity) in enumerate(rulings, start=1))
    verdicts = tuple(
        Verdict(claim.id, ruling, "it returned -1", "return a - b", EvidenceKind.EXECUTED, (2, 2))
        for claim, (ruling, _) in zip(claims, rulings, strict=True)
    )
    remediation = Remediation("CLAIM-001", "Add", "Add them", Action.MODIFY, Severity.CRITICAL, "return a + b")
    verification = Verification(
        id=1,
        request_id="req_abc",
        pipeline=Pipeline.FORWARD,
        tenant="t",
        mode="test",
        language="python",
        state=VerificationState.COMPLETE,
        stage=Stage.REMEDIATE,
        round=0,
        unit=1,
        model="sim",
        is_cancel_asked=False,
        created_at=AT,
        started_at=AT,
        ended_at=AT,
        duration_ms=1,
        is_erased=False,
    )
    return VerificationView(
        verification,
        Tally(),
        submitted=Submitted(CODE, "python"),
        forward=ForwardResult(claims, verdicts, (remediation,)),
        receipt_id="rcpt_1",
    )


def sound(view: VerificationView) -> dict[str, Any]:
    return sound_run(sarif_log(view, version="0.1.0"))


def sound_run(log: dict[str, Any]) -> dict[str, Any]:
    jsonschema.Draft202012Validator(SARIF).validate(log)
    run: dict[str, Any] = log["runs"][0]
    return run


def test_a_log_has_what_the_schema_requires_and_points_at_the_submitted_lines() -> None:
    run = sound(a_view((Ruling.FAIL, Severity.CRITICAL), (Ruling.PASS, Severity.LOW)))
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 2, "endLine": 2, "snippet": {"text": "return a - b"}}
    assert place["artifactLocation"] == {"uri": "code.py", "index": 0}
    assert run["artifacts"][0]["hashes"]["sha-256"] == hashlib.sha256(CODE.encode()).hexdigest()
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "lucid/correctness"
    assert result["properties"]["codeGuidance"] == "return a + b"
    counts = run["artifacts"][0]["properties"]
    assert (counts["passed"], counts["failed"], counts["total"], counts["request_id"]) == (1, 1, 2, "req_abc")


def test_only_what_failed_is_a_result_and_its_level_says_how_much_hangs_on_it() -> None:
    rulings = (Ruling.FAIL, Ruling.PARTIAL, Ruling.PASS, Ruling.NOT_APPLICABLE)
    for severity, levels in (
        (Severity.CRITICAL, ["error", "warning"]),
        (Severity.HIGH, ["error", "warning"]),
        (Severity.MEDIUM, ["warning", "warning"]),
        (Severity.LOW, ["note", "note"]),
    ):
        run = sound(a_view(*((ruling, severity) for ruling in rulings)))
        assert [result["level"] for result in run["results"]] == levels


def test_a_finding_is_known_again_wherever_it_stands_and_whatever_its_number() -> None:
    view = a_view((Ruling.FAIL, Severity.HIGH))
    assert view.forward is not None
    assert view.forward.claims is not None
    moved = replace(view.forward.claims[0], lines=(7, 9), severity=Severity.LOW, description="other words")
    again = replace(view, forward=replace(view.forward, claims=(moved,)))
    fingerprints = {sound(one)["results"][0]["partialFingerprints"][FINGERPRINT] for one in (view, again)}
    assert len(fingerprints) == 1


def test_a_run_without_findings_lines_or_guidance_is_sound_too() -> None:
    assert sound(a_view())["results"] == []
    bare = a_view((Ruling.FAIL, Severity.HIGH))
    claim = Claim("CLAIM-001", Category.SECURITY, Severity.LOW, "", "", testable=False)
    bare = replace(
        bare, forward=ForwardResult((claim,), (Verdict("CLAIM-001", Ruling.FAIL, ""),), None), submitted=None
    )
    (result,) = sound(bare)["results"]
    assert "region" not in result["locations"][0]["physicalLocation"]


def test_a_byte_order_mark_belongs_to_the_file_and_to_nothing_that_is_said_of_it() -> None:
    plain = a_view((Ruling.FAIL, Severity.HIGH))
    assert plain.forward is not None
    assert plain.forward.verdicts is not None
    marked = "\ufeff" + CODE
    verdict = replace(plain.forward.verdicts[0], evidence="\ufeffdef add(a, b):", lines=(1, 1))
    forward = replace(plain.forward, verdicts=(verdict,))
    run = sound(replace(plain, submitted=Submitted(marked, "python"), forward=forward))
    (artifact,), (result,) = run["artifacts"], run["results"]
    as_bytes = marked.encode()
    assert (artifact["length"], artifact["hashes"]["sha-256"]) == (len(as_bytes), hashlib.sha256(as_bytes).hexdigest())
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 1, "endLine": 1, "snippet": {"text": "def add(a, b):"}}
    assert result["partialFingerprints"] == sound(plain)["results"][0]["partialFingerprints"]


def test_a_log_of_several_files_is_sound_and_no_success_where_one_was_not_verified() -> None:
    log = sarif_log(a_view((Ruling.FAIL, Severity.HIGH)), version="0.1.0")
    verified = [Outcome(Path(name), result={}, sarif=log) for name in ("a.py", "b.py")]
    missed = [Outcome(Path(name), fault="the model is away") for name in ("c.py", "d.py")]
    for outcomes in (verified, missed, [*verified, *missed], []):
        run = sound_run(json.loads(as_sarif(outcomes)))
        assert run["automationDetails"] == log["runs"][0]["automationDetails"]
        assert run["tool"]["driver"]["rules"] == log["runs"][0]["tool"]["driver"]["rules"]
        successes = [invocation["executionSuccessful"] for invocation in run["invocations"]]
        assert successes == [False] * any(one in missed for one in outcomes) + [True] * len(run["artifacts"])
        told = [
            notification["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            for invocation in run["invocations"]
            for notification in invocation.get("toolExecutionNotifications", ())
        ]
        assert told == [one.path.name for one in outcomes if one in missed]
