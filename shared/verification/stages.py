"""From a stage's name to what does it, and from what it gave to its stored form and back. What makes no sense goes no further."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.kernel.canonical_json import jcs
from shared.verification.items import (
    Attempt,
    Claim,
    Constraint,
    Json,
    Remediation,
    Specification,
    SpecVerdict,
    Submitted,
    Task,
    Verdict,
)
from shared.verification.model import ForwardResult, Pipeline, ReverseResult, Stage
from shared.verification.tools import FaultCode, StageFailed, Tools

UNSOUND = "A stage of the verification gave what makes no sense."


class _Item(Protocol):
    def to_json(self) -> Json: ...


@dataclass(frozen=True)
class Given:
    """What a stage starts from: what was submitted, and what the stages before it gave, in stored form."""

    pipeline: Pipeline
    subject: str = field(repr=False)
    language: str
    context: str | None = field(repr=False)
    outputs: Mapping[Stage, Json] = field(repr=False)

    @property
    def submitted(self) -> Submitted:
        """What `forward` is about."""
        return Submitted(self.subject, self.language, self.context)

    @property
    def task(self) -> Task:
        """What `reverse` is for."""
        return Task(self.subject, self.language, self.context)

    def digest(self, stage: Stage) -> bytes:
        """Return SHA-256 over the RFC 8785 form of all that `stage` starts from."""
        whole = {
            "pipeline": self.pipeline.value,
            "stage": stage.value,
            "subject": self.subject,
            "language": self.language,
            "context": self.context,
            "outputs": {name.value: output for name, output in self.outputs.items()},
        }
        return hashlib.sha256(jcs(whole)).digest()


def perform(stage: Stage, given: Given, tools: Tools) -> Json:
    """Do one stage; return what it gave in stored form. Raises `StageFailed`, and whatever ends a step early."""
    return _forward(stage, given, tools) if given.pipeline is Pipeline.FORWARD else _reverse(stage, given, tools)


def _forward(stage: Stage, given: Given, tools: Tools) -> Json:
    from shared.verification import forward

    result, submitted = forward_result(given.outputs), given.submitted
    if stage is Stage.EXTRACT:
        return {"claims": _distinct(forward.extract(submitted, tools))}
    claims = _present(result.claims)
    if stage is Stage.VERIFY:
        verdicts = forward.verify(submitted, claims, tools)
        _require_one_each([claim.id for claim in claims], [verdict.claim_id for verdict in verdicts])
        return {"verdicts": _documents(verdicts)}
    remediations = forward.remediate(submitted, claims, _present(result.verdicts), tools)
    _require_among([claim.id for claim in claims], [remediation.claim_id for remediation in remediations])
    return {"remediations": _documents(remediations)}


def _reverse(stage: Stage, given: Given, tools: Tools) -> Json:
    from shared.verification import reverse

    result, task = reverse_result(given.outputs), given.task
    if stage is Stage.SPECIFY:
        return {"specifications": _distinct(reverse.specify(task, tools))}
    specs = _present(result.specifications)
    spec_ids = [spec.id for spec in specs]
    if stage is Stage.CONSTRAIN:
        return {"constraints": _documents(reverse.constrain(task, specs, tools))}
    constraints = _present(result.constraints)
    if stage is Stage.GENERATE:
        return {"code": reverse.generate(task, specs, constraints, tools)}
    code: str = given.outputs[Stage.GENERATE]["code"]
    if stage is Stage.VERIFY:
        verdicts = reverse.verify(task, specs, code, tools)
        _require_one_each(spec_ids, [verdict.spec_id for verdict in verdicts])
        return {"verdicts": _documents(verdicts)}
    found = tuple(map(SpecVerdict.from_json, given.outputs[Stage.VERIFY]["verdicts"]))
    attempts = reverse.repair(task, specs, constraints, code, found, tools)
    _require_sound(attempts, spec_ids)
    return {"attempts": _documents(attempts)}


def forward_result(outputs: Mapping[Stage, Json]) -> ForwardResult:
    """Read what the stages of `forward` gave."""
    claims = _read(outputs, Stage.EXTRACT, "claims")
    verdicts = _read(outputs, Stage.VERIFY, "verdicts")
    remediations = _read(outputs, Stage.REMEDIATE, "remediations")
    return ForwardResult(
        None if claims is None else tuple(map(Claim.from_json, claims)),
        None if verdicts is None else tuple(map(Verdict.from_json, verdicts)),
        None if remediations is None else tuple(map(Remediation.from_json, remediations)),
    )


def reverse_result(outputs: Mapping[Stage, Json]) -> ReverseResult:
    """Read what the stages of `reverse` gave."""
    specs = _read(outputs, Stage.SPECIFY, "specifications")
    constraints = _read(outputs, Stage.CONSTRAIN, "constraints")
    attempts = _read(outputs, Stage.REPAIR, "attempts")
    return ReverseResult(
        None if specs is None else tuple(map(Specification.from_json, specs)),
        None if constraints is None else tuple(map(Constraint.from_json, constraints)),
        None if attempts is None else tuple(map(Attempt.from_json, attempts)),
    )


def counts_of(output: Json) -> dict[str, int]:
    """Return the figures of a stage's output, for people who watch: how many items, and how many of each verdict."""
    counts: dict[str, int] = {name: len(items) for name, items in output.items() if isinstance(items, list)}
    rulings = Counter(item.get("verdict") or item.get("status") for item in output.get("verdicts", []))
    counts |= {str(name): times for name, times in sorted(rulings.items())}
    chosen = next((attempt for attempt in output.get("attempts", []) if attempt["chosen"]), None)
    return counts if chosen is None else counts | {"satisfied": chosen["satisfied"]}


def _read(outputs: Mapping[Stage, Json], stage: Stage, name: str) -> list[dict[str, Any]] | None:
    output = outputs.get(stage)
    return None if output is None else output[name]


def _documents(items: Iterable[_Item]) -> list[Json]:
    return [item.to_json() for item in items]


def _present(items: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if items is None:
        raise StageFailed(FaultCode.INTERNAL_ERROR, UNSOUND)
    return items


def _distinct(items: Sequence[Claim] | Sequence[Specification]) -> list[Json]:
    """Return the stored form of what a first stage gave: some, each by an id of its own. None at all is a failure, never a result."""
    ids = [item.id for item in items]
    if not ids or len(set(ids)) != len(ids):
        raise StageFailed(FaultCode.INTERNAL_ERROR, UNSOUND)
    return _documents(items)


def _require_one_each(wanted: Sequence[str], found: Sequence[str]) -> None:
    """Counts add up only where each has one verdict."""
    if Counter(wanted) != Counter(found):
        raise StageFailed(FaultCode.INTERNAL_ERROR, UNSOUND)


def _require_among(known: Sequence[str], found: Sequence[str]) -> None:
    if not set(found) <= set(known):
        raise StageFailed(FaultCode.INTERNAL_ERROR, UNSOUND)


def _require_sound(attempts: Sequence[Attempt], spec_ids: Sequence[str]) -> None:
    """One attempt is chosen, and it satisfies no less than the first."""
    chosen = [attempt for attempt in attempts if attempt.chosen]
    if len(chosen) != 1 or chosen[0].satisfied < attempts[0].satisfied:
        raise StageFailed(FaultCode.INTERNAL_ERROR, UNSOUND)
    for attempt in attempts:
        _require_one_each(spec_ids, [verdict.spec_id for verdict in attempt.verdicts])
