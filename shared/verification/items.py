"""What the stages of a verification hand to each other. Every item has a JSON form: that is what is stored, committed to and shown.

`from_json(to_json(item)) == item`. Text holds no NUL and no lone surrogate: neither PostgreSQL nor UTF-8 can keep one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from shared.sandbox.model import Probe

Json = dict[str, Any]
"""One JSON object."""
Lines = tuple[int, int]
"""The first and the last line, counted from 1, both included."""


class Category(StrEnum):
    """What a claim or a specification is about (the pipelines' contract)."""

    CORRECTNESS = "correctness"
    SECURITY = "security"
    PERFORMANCE = "performance"
    ERROR_HANDLING = "error-handling"
    EDGE_CASE = "edge-case"
    TYPE_SAFETY = "type-safety"


class Severity(StrEnum):
    """How much hangs on it (the pipelines' contract)."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class EvidenceKind(StrEnum):
    """What a verdict rests on: a run in the sandbox, a look at the text by rule, a model's opinion, or nothing."""

    EXECUTED = "executed"
    STATIC = "static"
    OPINION = "opinion"
    NONE = "none"


class Ruling(StrEnum):
    """What became of a claim (the pipelines' contract)."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    PARTIAL = "PARTIAL"
    NOT_APPLICABLE = "N/A"


class Action(StrEnum):
    """What a remediation asks for (the pipelines' contract)."""

    ADD = "add"
    MODIFY = "modify"
    REMOVE = "remove"


class ConstraintType(StrEnum):
    """How binding a constraint is (the pipelines' contract)."""

    MUST = "must"
    MUST_NOT = "must-not"
    PREFER = "prefer"


class ConstraintSource(StrEnum):
    """Where a constraint comes from: a domain's pattern, or the specifications."""

    DOMAIN = "domain"
    SPEC = "spec"


class SpecStatus(StrEnum):
    """What became of a specification (the pipelines' contract)."""

    SATISFIED = "satisfied"
    PARTIAL = "partial"
    UNSATISFIED = "unsatisfied"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Submitted:
    """What `forward` is asked about. `language`: a canonical name, or what the caller wrote where we know none."""

    code: str = field(repr=False)
    language: str
    context: str | None = field(default=None, repr=False)

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"code": self.code, "language": self.language, "context": self.context}


@dataclass(frozen=True)
class Task:
    """What `reverse` is asked for."""

    task: str = field(repr=False)
    language: str
    context: str | None = field(default=None, repr=False)

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"task": self.task, "language": self.language, "context": self.context}


@dataclass(frozen=True)
class Claim:
    """Something the code is held to. `assertion` is made from the probe where there is one.

    `function`: the qualified name it concerns. `basis`: what the expected value rests on ("context", "agreed", "model", "rule"). Not
    `testable`: no run can decide it. `derivations`: who else derived the value, and what each of them gave.
    """

    id: str
    category: Category
    severity: Severity
    description: str
    assertion: str
    testable: bool
    function: str | None = None
    lines: Lines | None = None
    probe: Probe | None = None
    basis: str = "model"
    derivations: tuple[Json, ...] = ()

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "id": self.id,
            "category": self.category.value,
            "severity": self.severity.value,
            "description": self.description,
            "assertion": self.assertion,
            "testable": self.testable,
            "function": self.function,
            "lines": _json_lines(self.lines),
            "probe": None if self.probe is None else self.probe.to_json(),
            "basis": self.basis,
            "derivations": list(self.derivations),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            id=document["id"],
            category=Category(document["category"]),
            severity=Severity(document["severity"]),
            description=document["description"],
            assertion=document["assertion"],
            testable=document["testable"],
            function=document["function"],
            lines=_lines(document["lines"]),
            probe=_probe(document["probe"]),
            basis=document["basis"],
            derivations=tuple(document.get("derivations", ())),
        )


@dataclass(frozen=True)
class Verdict:
    """What became of one claim. `evidence`: the source lines concerned, as they were submitted.

    `transcript`: what was run and what came of it, as JSON objects. `opinion`: a model's, marked as such; it decides nothing.
    """

    claim_id: str
    verdict: Ruling
    reasoning: str
    evidence: str = ""
    evidence_kind: EvidenceKind = EvidenceKind.NONE
    lines: Lines | None = None
    transcript: tuple[Json, ...] = ()
    opinion: str | None = None

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "claim_id": self.claim_id,
            "verdict": self.verdict.value,
            "reasoning": self.reasoning,
            "evidence": self.evidence,
            "evidence_kind": self.evidence_kind.value,
            "lines": _json_lines(self.lines),
            "transcript": list(self.transcript),
            "opinion": self.opinion,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            claim_id=document["claim_id"],
            verdict=Ruling(document["verdict"]),
            reasoning=document["reasoning"],
            evidence=document["evidence"],
            evidence_kind=EvidenceKind(document["evidence_kind"]),
            lines=_lines(document["lines"]),
            transcript=tuple(document["transcript"]),
            opinion=document["opinion"],
        )


@dataclass(frozen=True)
class Remediation:
    """What to do about a claim that failed. `verified`: whether the guidance, run, mended it; None where it was not run."""

    claim_id: str
    title: str
    description: str
    action: Action
    severity: Severity
    code_guidance: str
    verified: bool | None = None

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "claim_id": self.claim_id,
            "title": self.title,
            "description": self.description,
            "action": self.action.value,
            "severity": self.severity.value,
            "code_guidance": self.code_guidance,
            "verified": self.verified,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            claim_id=document["claim_id"],
            title=document["title"],
            description=document["description"],
            action=Action(document["action"]),
            severity=Severity(document["severity"]),
            code_guidance=document["code_guidance"],
            verified=document["verified"],
        )


@dataclass(frozen=True)
class Specification:
    """Something that generated code is held to. `probe`: None where no run can decide it."""

    id: str
    category: Category
    severity: Severity
    description: str
    assertion: str
    rationale: str
    probe: Probe | None = None

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "id": self.id,
            "category": self.category.value,
            "severity": self.severity.value,
            "description": self.description,
            "assertion": self.assertion,
            "rationale": self.rationale,
            "probe": None if self.probe is None else self.probe.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            id=document["id"],
            category=Category(document["category"]),
            severity=Severity(document["severity"]),
            description=document["description"],
            assertion=document["assertion"],
            rationale=document["rationale"],
            probe=_probe(document["probe"]),
        )


@dataclass(frozen=True)
class Constraint:
    """What the generated code must do, must not do, or should. `pattern`: an example in code."""

    id: str
    type: ConstraintType
    description: str
    source: ConstraintSource
    pattern: str | None = None

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "id": self.id,
            "type": self.type.value,
            "description": self.description,
            "source": self.source.value,
            "pattern": self.pattern,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            id=document["id"],
            type=ConstraintType(document["type"]),
            description=document["description"],
            source=ConstraintSource(document["source"]),
            pattern=document["pattern"],
        )


@dataclass(frozen=True)
class SpecVerdict:
    """What became of one specification. `disputed`: an independent derivation sides with the code against its expected value."""

    spec_id: str
    status: SpecStatus
    reasoning: str
    evidence_kind: EvidenceKind = EvidenceKind.NONE
    transcript: tuple[Json, ...] = ()
    opinion: str | None = None
    disputed: bool = False

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "spec_id": self.spec_id,
            "status": self.status.value,
            "reasoning": self.reasoning,
            "evidence_kind": self.evidence_kind.value,
            "transcript": list(self.transcript),
            "opinion": self.opinion,
            "disputed": self.disputed,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            spec_id=document["spec_id"],
            status=SpecStatus(document["status"]),
            reasoning=document["reasoning"],
            evidence_kind=EvidenceKind(document["evidence_kind"]),
            transcript=tuple(document["transcript"]),
            opinion=document["opinion"],
            disputed=document["disputed"],
        )


@dataclass(frozen=True)
class Attempt:
    """One try at the code, with its figures. Number 1 is the generated one; just one of all is `chosen`."""

    number: int
    code: str = field(repr=False)
    verdicts: tuple[SpecVerdict, ...]
    satisfied: int
    chosen: bool

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {
            "number": self.number,
            "code": self.code,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "satisfied": self.satisfied,
            "chosen": self.chosen,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(
            number=document["number"],
            code=document["code"],
            verdicts=tuple(SpecVerdict.from_json(verdict) for verdict in document["verdicts"]),
            satisfied=document["satisfied"],
            chosen=document["chosen"],
        )


def _json_lines(lines: Lines | None) -> list[int] | None:
    return None if lines is None else list(lines)


def _lines(document: Sequence[int] | None) -> Lines | None:
    return None if document is None else (document[0], document[1])


def _probe(document: Mapping[str, Any] | None) -> Probe | None:
    return None if document is None else Probe.from_json(document)
