"""Code held against its specifications: each that can run is run twice, and what came decides.

Where code fails a specification, a second program is run on the same call: written from task and interface alone, it has seen neither
the specifications nor the code. If it gives what the code gives, the expected value is in doubt: the specification is disputed, shown
with both values, and not satisfied all the same. A value that the task itself states is never in doubt. A program that is the code
again, word by word, may make the same slip: another is asked for, and only where that is the code too, there is but one way to write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe
from shared.source.languages import can_be_parsed
from shared.source.outline import outline
from shared.verification.generation import MOST_SECOND_PROGRAMS, second_code
from shared.verification.items import EvidenceKind, Json, Specification, SpecStatus, SpecVerdict, Task
from shared.verification.reverse_prompts import language_name
from shared.verification.specifications import called, runnable, stated
from shared.verification.tools import Tools, side_by_side

_ENDED = {
    Outcome.TIMED_OUT: "did not end in time",
    Outcome.OUT_OF_MEMORY: "ran out of memory",
    Outcome.TOO_MUCH_OUTPUT: "printed more than a run may",
    Outcome.REFUSED: "reached for what the sandbox does not give",
    Outcome.CRASHED: "crashed",
    Outcome.NOT_TRIED: "was not tried: no time was left for it",
}
_RUNS = (Limits(), Limits(hash_seed=1))  # what hangs on the order of a set is seen to differ
_COMPARABLE = frozenset({Outcome.RETURNED, Outcome.RAISED})
_NAMES_NOTHING = ("AttributeError", "NameError", "ReferenceError", "UnboundLocalError")


class SecondProgram:
    """The independent programs of one task, each written when it is first needed, and once."""

    def __init__(self, task: Task, signature: str, tools: Tools) -> None:
        self._task = task
        self._signature = signature
        self._tools = tools
        self._written: list[str] = []

    def beside(self, *known: str) -> str:
        """Return a program, one that is none of `known` word by word if the model wrote any."""
        for number in range(MOST_SECOND_PROGRAMS):
            if number == len(self._written):
                self._written.append(second_code(self._task, self._signature, self._tools, number=number))
            if is_new(self._written[number], known):
                return self._written[number]
        return self._written[-1]


def is_new(program: str, known: Sequence[str]) -> bool:
    """Say whether a program is none of `known`, word by word."""
    return all(program.split() != one.split() for one in known)


@dataclass(frozen=True)
class Trial:
    """A specification and what two runs of the code gave."""

    spec: Specification
    probe: Probe
    runs: tuple[Observation, Observation]

    def transcript(self, second: Observation | None = None) -> tuple[Json, ...]:
        """Return the JSON form of what was run."""
        document = {"probe": self.probe.to_json(), "runs": [run.to_json() for run in self.runs]}
        if second is not None:
            document["references"] = [second.to_json()]
        return (document,)


def held(
    task: Task, specs: Sequence[Specification], code: str, tools: Tools, second: Callable[[], str]
) -> tuple[SpecVerdict, ...]:
    """Return the verdicts; `second` gives the program that doubts are weighed with."""
    language = runnable(task.language)
    if language is None:
        return tuple(_looked_at(task, spec, code) for spec in specs)
    trials = _try(language, specs, code, tools)
    verdicts = {trial.spec.id: judged(trial, defined=_defines(code, task.language)) for trial in trials}
    beyond_doubt = stated(specs)
    doubtful = [
        trial
        for trial in trials
        if trial.spec.id not in beyond_doubt and _may_be_disputed(trial, verdicts[trial.spec.id])
    ]
    if doubtful:
        probes = [trial.probe for trial in doubtful]
        observations = tools.sandboxes.run(language, second(), probes, check=tools.check).observations
        for trial, observation in zip(doubtful, observations, strict=True):
            verdicts[trial.spec.id] = weighed(trial, verdicts[trial.spec.id], observation)
    return tuple(verdicts.get(spec.id) or _not_run(spec) for spec in specs)


def judged(trial: Trial, *, defined: frozenset[str]) -> SpecVerdict:
    """Return what the two runs say; `defined`: the names that the code defines at its top."""
    first, again = trial.runs
    status, reasoning = _status(trial, defined)
    are_one = (first.outcome, first.value, first.matches) == (again.outcome, again.value, again.matches)
    if Outcome.NOT_TRIED in (first.outcome, again.outcome):
        status, reasoning = SpecStatus.UNKNOWN, f"{called(trial.probe)} was not run twice: no time was left for it."
    elif not are_one and not (first.matches and again.matches):
        status, reasoning = (
            SpecStatus.PARTIAL,
            f"Two runs differ. First: {_seen(trial.probe, first)} Then: {_seen(trial.probe, again)}",
        )
    return SpecVerdict(trial.spec.id, status, reasoning, EvidenceKind.EXECUTED, trial.transcript())


def weighed(trial: Trial, verdict: SpecVerdict, second: Observation) -> SpecVerdict:
    """Return the verdict with the second program's answer: disputed where that sides with the code."""
    verdict = replace(verdict, transcript=trial.transcript(second))
    if not _same(trial.runs[0], second):
        return verdict
    return replace(
        verdict,
        status=SpecStatus.PARTIAL,
        disputed=True,
        reasoning=f"{verdict.reasoning} A second program, written from the task alone, gives the same as the code:"
        " the expected value is in doubt.",
    )


def _try(language: Language, specs: Sequence[Specification], code: str, tools: Tools) -> list[Trial]:
    executable = [(spec, spec.probe) for spec in specs if spec.probe is not None]
    probes = [probe for _, probe in executable]

    def run(limits: Limits) -> tuple[Observation, ...]:
        return tools.sandboxes.run(language, code, probes, limits=limits, check=tools.check).observations

    runs = side_by_side([partial(run, limits) for limits in _RUNS])
    return [
        Trial(spec, probe, (first, again))
        for (spec, probe), first, again in zip(executable, runs[0], runs[1], strict=True)
    ]


def _status(trial: Trial, defined: frozenset[str]) -> tuple[SpecStatus, str]:
    first = trial.runs[0]
    seen = _seen(trial.probe, first)
    if first.outcome is Outcome.BAD_PROBE:
        missing = _missing(trial, defined)
        if missing is not None:
            return SpecStatus.UNSATISFIED, f"The code defines no {missing}."
        return SpecStatus.UNKNOWN, f"The specification cannot be run: {first.error or 'it cannot be read'}"
    if first.matches:
        return SpecStatus.SATISFIED, seen
    if first.alike:
        return SpecStatus.PARTIAL, f"{seen} The values are alike, but not of one kind."
    return SpecStatus.UNSATISFIED, seen


def _missing(trial: Trial, defined: frozenset[str]) -> str | None:
    """Return the name that the specification needs and the code does not define, if the run failed over it."""
    error = trial.runs[0].error or ""
    if not error.startswith(_NAMES_NOTHING):
        return None
    names = [
        name for name in _words(f"{trial.probe.setup} {trial.probe.call}") if name in error and name not in defined
    ]
    return names[0] if names else None


def _words(text: str) -> list[str]:
    return "".join(character if character.isalnum() or character in "_$" else " " for character in text).split()


def _seen(probe: Probe, run: Observation) -> str:
    wanted = f"expected {probe.raises or run.expected or probe.expected}"
    if probe.raises == "*":
        wanted = "expected an error"
    call = called(probe)
    match run.outcome:
        case Outcome.RETURNED:
            return f"{call} returned {run.actual}; {wanted}."
        case Outcome.RAISED:
            return f"{call} raised {run.error}; {wanted}."
        case Outcome.NOT_LOADED:
            return f"The code does not load: {run.error}"
        case Outcome.BAD_PROBE:
            return f"The specification cannot be run: {run.error}"
    return f"{call} {_ENDED[run.outcome]}; {wanted}."


def _may_be_disputed(trial: Trial, verdict: SpecVerdict) -> bool:
    failed = verdict.status in {SpecStatus.UNSATISFIED, SpecStatus.PARTIAL}
    return failed and trial.spec.id != "SPEC-001" and _same(*trial.runs)


def _same(one: Observation, other: Observation) -> bool:
    """Say whether two runs came to the same: one value, or one type of error that is not about a name that is missing."""
    if one.outcome is not other.outcome or one.outcome not in _COMPARABLE:
        return False
    if one.outcome is Outcome.RETURNED:
        return one.actual is not None and one.value == other.value
    kinds = [(run.error or "").partition(":")[0].strip() for run in (one, other)]
    return kinds[0] == kinds[1] and kinds[0] not in _NAMES_NOTHING


def _not_run(spec: Specification) -> SpecVerdict:
    return SpecVerdict(spec.id, SpecStatus.UNKNOWN, "No run can decide this specification.")


def _defines(code: str, language: str) -> frozenset[str]:
    return frozenset(function.name for function in outline(code, language).functions)


def _looked_at(task: Task, spec: Specification, code: str) -> SpecVerdict:
    """Return what can be said of code that cannot be run: whether it parses and defines the interface's name."""
    reason = f"{language_name(task.language)} is not run here"
    if not can_be_parsed(task.language):
        return SpecVerdict(spec.id, SpecStatus.UNKNOWN, f"{reason}, nor parsed: nothing is known of it.")
    found = outline(code, task.language)
    if found.fault_lines:
        where = f"The code does not parse, line {found.fault_lines[0]}."
        return SpecVerdict(spec.id, SpecStatus.UNSATISFIED, where, EvidenceKind.STATIC)
    if spec.id != "SPEC-001":
        return SpecVerdict(
            spec.id, SpecStatus.UNKNOWN, f"{reason}: the code parses, and that is all.", EvidenceKind.STATIC
        )
    name = spec.description.rsplit(" ", 1)[-1]
    is_defined = any(function.name == name for function in found.functions)
    return SpecVerdict(
        spec.id,
        SpecStatus.SATISFIED if is_defined else SpecStatus.UNSATISFIED,
        f"The code parses and defines {name}." if is_defined else f"The code defines no {name}.",
        EvidenceKind.STATIC,
    )
