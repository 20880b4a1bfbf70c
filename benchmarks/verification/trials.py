"""One trial: a program judged, or a task done, in one of the ways, and what is recorded of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.verification.corpus import FORWARD, REVERSE, Assignment, Program, Subject
from benchmarks.verification.counting import CountingAsker
from benchmarks.verification.door import Pipelines
from benchmarks.verification.one_shot import one_shot
from benchmarks.verification.opinion import opinions
from benchmarks.verification.records import Record, Trial
from benchmarks.verification.truth import Truth
from shared.kernel.clock import Clock
from shared.llm.clients.openai import Upstream
from shared.llm.model import UpstreamError
from shared.sandbox.model import Probe
from shared.verification.items import Ruling, Submitted

PIPELINE = "pipeline"
OPINION = "opinion"
ONE_SHOT = "one-shot"
WAYS = {FORWARD: (PIPELINE, OPINION), REVERSE: (PIPELINE, ONE_SHOT)}
COMPLETE, FAILED = "complete", "failed"


@dataclass(frozen=True)
class Judges:
    """Who is asked. `upstream`: the model itself; None where only the service's address is known, and only the pipelines are tried."""

    pipelines: Pipelines
    truth: Truth
    clock: Clock
    model: str
    seed: int
    upstream: Upstream | None

    def asker(self) -> CountingAsker:
        """Return the model itself, with its counts at zero."""
        if self.upstream is None:
            raise LookupError("the model's own address is not known")
        return CountingAsker(self.upstream, model=self.model, seed=self.seed, clock=self.clock)

    def trial(self, pipeline: str, way: str, item: Program | Assignment) -> Trial:
        """Return the identity of a trial."""
        return Trial(pipeline, way, item.name, item.digest, self.model, self.seed)


def judged(subject: Subject, program: Program, way: str, judges: Judges) -> Record:
    """Have a program judged in one of the ways of `forward`. Raises `WentWrong` where the service is away."""
    facts = {"function": program.function, "language": str(program.language), "kind": program.kind}
    found = _verified(subject, program, judges) if way == PIPELINE else _believed(program, judges)
    return {**facts, **found}


def written(assignment: Assignment, way: str, judges: Judges) -> Record:
    """Have a task done in one of the ways of `reverse`. Raises as `judged` does."""
    found = _generated(assignment, judges) if way == PIPELINE else _written_once(assignment, judges)
    return {"function": assignment.function, "language": str(assignment.language), **found}


def _verified(subject: Subject, program: Program, judges: Judges) -> Record:
    run = judges.pipelines.forward(program.code, language=program.language, context=program.context)
    if run["state"] != COMPLETE:
        return _unfinished(run) | _taken(run["usage"])
    result = run["result"]
    items = result["verification"]["items"]
    claims = {claim["id"]: claim for claim in result["claims"]["items"]}
    fails = [item for item in items if item["verdict"] == Ruling.FAIL]
    probes = [_probe(claims[item["claimId"]]) for item in fails]
    right = judges.truth.right(program.language, subject.correct.code, probes)
    return {
        "state": COMPLETE,
        "verdicts": _counted(item["verdict"] for item in items),
        "evidence": _counted(item["evidence_kind"] for item in items),
        "fails": [
            {
                "assertion": claims[item["claimId"]]["assertion"],
                "basis": claims[item["claimId"]].get("basis"),
                "evidence_kind": item["evidence_kind"],
                "reasoning": item["reasoning"],
                "right": is_right,
            }
            for item, is_right in zip(fails, right, strict=True)
        ],
        "request_id": result["request_id"],
        **_taken(run["usage"]),
    }


def _believed(program: Program, judges: Judges) -> Record:
    asker = judges.asker()
    try:
        found = opinions(Submitted(program.code, program.language, program.context), asker)
    except UpstreamError as error:
        return _failed(f"{error.code}: {error.detail}") | _counts(asker)
    return {
        "state": COMPLETE,
        "verdicts": _counted(opinion.verdict.value for opinion in found),
        "evidence": {"opinion": len(found)},
        "fails": [
            {"assertion": opinion.claim, "evidence_kind": "opinion", "reasoning": opinion.reasoning}
            for opinion in found
            if opinion.verdict is Ruling.FAIL
        ],
        **_counts(asker),
    }


def _generated(assignment: Assignment, judges: Judges) -> Record:
    run = judges.pipelines.reverse(assignment.task, language=assignment.language)
    if run["state"] != COMPLETE:
        return _unfinished(run) | _taken(run["usage"])
    result = run["result"]
    kept = ("satisfied", "partial", "unsatisfied", "unknown", "total", "percentage")
    return {
        "state": COMPLETE,
        "attempts": [
            _scored(attempt["code"], assignment, judges)
            | {name: attempt[name] for name in ("number", "satisfied", "chosen")}
            for attempt in result["attempts"]
        ],
        "verification": {name: result["verification"][name] for name in kept},
        "evidence": _counted(item["evidence_kind"] for item in result["verification"]["items"]),
        "request_id": result["request_id"],
        **_taken(run["usage"]),
    }


def _written_once(assignment: Assignment, judges: Judges) -> Record:
    asker = judges.asker()
    try:
        code = one_shot(assignment, asker)
    except UpstreamError as error:
        return _failed(f"{error.code}: {error.detail}") | _counts(asker)
    taken = _counts(asker)  # before the hidden tests run: they are no part of the way
    return {"state": COMPLETE, "attempts": [_scored(code, assignment, judges) | {"chosen": True}], **taken}


def _scored(code: str, assignment: Assignment, judges: Judges) -> Record:
    score = judges.truth.score(assignment.language, code, assignment.tests)
    return {"passed": score.passed, "of": score.of, "code": code}


def _probe(claim: Mapping[str, Any]) -> Probe | None:
    return Probe.from_json(claim["probe"]) if "probe" in claim else None


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values))


def _unfinished(run: Mapping[str, Any]) -> Record:
    """Return how a run ended that has no result; a cancelled one has no error."""
    error = run.get("error") or {"code": run["state"], "message": "by hand"}
    return _failed(f"{error['code']}: {error['message']}")


def _failed(error: str) -> Record:
    return {"state": FAILED, "error": error}


def _taken(usage: Mapping[str, Any]) -> Record:
    """Return what a run took, as its answer says."""
    return {
        "calls": usage["pipeline_calls"],
        "tokens_in": usage["input_tokens"],
        "tokens_out": usage["output_tokens"],
        "took_s": usage["duration_ms"] / 1000,
        "models": _models(usage["stages"]),
    }


def _models(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({stage["model"] for stage in stages if "model" in stage})


def _counts(asker: CountingAsker) -> Record:
    return {
        "calls": asker.calls,
        "tokens_in": asker.tokens_in,
        "tokens_out": asker.tokens_out,
        "took_s": asker.spent_s,
    }
