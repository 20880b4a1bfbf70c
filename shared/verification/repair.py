"""Mending code that fails specifications: a bounded number of attempts, each verified in full, the best of them chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from shared.verification.conformance import SecondProgram, held, is_new
from shared.verification.generation import MOST_SECOND_PROGRAMS, Failing, is_readable, mended
from shared.verification.items import Attempt, Constraint, Specification, SpecStatus, SpecVerdict, Task
from shared.verification.specifications import runnable, stated
from shared.verification.tools import Tools

ROUNDS = 2
_MOST_SHOWN = 5


def repair(
    task: Task,
    specs: Sequence[Specification],
    constraints: Sequence[Constraint],
    code: str,
    verdicts: Sequence[SpecVerdict],
    tools: Tools,
    *,
    rounds: int = ROUNDS,
) -> tuple[Attempt, ...]:
    """Return the attempts, the generated code first, one of them chosen.

    The second one is the independent program that doubts are weighed with: it is there, and may be the better one. Where it fails at
    something too, one more is written from the task alone. With these it is the first that doubts are weighed with, in them and in
    what is made of them. Then the best is mended. Chosen is the one that satisfies most specifications, the
    earlier of two that satisfy as many; never one that loses what the task states and the first had. Disputed specifications are not
    chased: to mend them could be to break the code.
    """
    attempts = [_attempt(1, code, verdicts)]
    if runnable(task.language) is None or not _failures(specs, verdicts):
        return (replace(attempts[0], chosen=True),)
    programs, known = SecondProgram(task, specs[0].assertion, tools), [code]
    for _ in range(MOST_SECOND_PROGRAMS):
        program = program_beside(programs, tools, *known)
        if is_new(program, known) and is_readable(program, task.language):
            attempts.append(_attempt(len(attempts) + 1, program, held(task, specs, program, tools, lambda: code)))
        known.append(program)
        if not program or not _failures(specs, attempts[_best(attempts, specs)].verdicts):
            break
    own_kin, second = {code}, known[1]
    for number in range(1, rounds + 1):
        best = attempts[_best(attempts, specs)]
        failures = _failures(specs, best.verdicts)
        if not failures:
            break
        tools.check()
        failing = Failing(best.code, tuple(failures), number)
        tried = tools.if_readable(partial(mended, task, specs, constraints, failing, tools))
        if tried is None:
            break
        if any(tried == attempt.code for attempt in attempts):
            continue  # the model gave back what was judged already
        is_kin = best.code in own_kin
        own_kin |= {tried} if is_kin else set()
        other = second if is_kin else code
        attempts.append(_attempt(len(attempts) + 1, tried, held(task, specs, tried, tools, _given(other))))
    chosen = _best(attempts, specs)
    return tuple(replace(attempt, chosen=index == chosen) for index, attempt in enumerate(attempts))


def program_beside(programs: SecondProgram, tools: Tools, *known: str) -> str:
    """Return an independent program; one without a line where the model's answer cannot be read: such a program has no vote."""
    return tools.if_readable(lambda: programs.beside(*known)) or ""


def _given(program: str) -> Callable[[], str]:
    return lambda: program


def _attempt(number: int, code: str, verdicts: Sequence[SpecVerdict]) -> Attempt:
    return Attempt(number, code, tuple(verdicts), len(_satisfied(verdicts)), chosen=False)


def _best(attempts: Sequence[Attempt], specs: Sequence[Specification]) -> int:
    """Return the index of the best attempt so far."""
    kept = _satisfied(attempts[0].verdicts) & stated(specs)
    eligible = [index for index, attempt in enumerate(attempts) if kept <= _satisfied(attempt.verdicts)]
    return max(eligible, key=lambda index: (attempts[index].satisfied, -index))


def _satisfied(verdicts: Sequence[SpecVerdict]) -> frozenset[str]:
    return frozenset(verdict.spec_id for verdict in verdicts if verdict.status is SpecStatus.SATISFIED)


def _failures(specs: Sequence[Specification], verdicts: Sequence[SpecVerdict]) -> list[str]:
    """Return what is to be mended, in words: what the task states first, then what a second program confirms, then the rest."""
    certain = stated(specs)
    failed = [
        verdict
        for verdict in verdicts
        if verdict.status in {SpecStatus.UNSATISFIED, SpecStatus.PARTIAL} and not verdict.disputed
    ]
    failed.sort(key=lambda verdict: (verdict.spec_id not in certain, not _is_confirmed(verdict)))
    return [f"- {verdict.reasoning}" for verdict in failed[:_MOST_SHOWN]]


def _is_confirmed(verdict: SpecVerdict) -> bool:
    """Say whether the second program gave what was expected."""
    seconds = [second for run in verdict.transcript for second in run.get("references", ())]
    return any(second.get("matches") for second in seconds)
