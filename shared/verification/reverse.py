"""The stages of `reverse`: specify → constrain → generate → verify → repair."""

from __future__ import annotations

from collections.abc import Sequence

from shared.verification.conformance import SecondProgram, held
from shared.verification.constraints import constrain
from shared.verification.excerpts import shown_code
from shared.verification.generation import generate
from shared.verification.items import Specification, SpecStatus, SpecVerdict, Submitted, Task
from shared.verification.opinions import beside, opinions
from shared.verification.repair import program_beside, repair
from shared.verification.specifications import runnable, specify
from shared.verification.tools import Tools
from shared.verification.units import MOST_SHOWN_CHARS

__all__ = ["constrain", "generate", "repair", "specify", "verify"]


def verify(task: Task, specs: Sequence[Specification], code: str, tools: Tools) -> tuple[SpecVerdict, ...]:
    """Return one verdict for each specification, in their order; without a second program that can be read, none is disputed."""
    programs = SecondProgram(task, specs[0].assertion, tools)
    verdicts = held(task, specs, code, tools, lambda: program_beside(programs, tools, code))
    return verdicts if runnable(task.language) else _with_opinions(task, specs, code, verdicts, tools)


def _with_opinions(
    task: Task, specs: Sequence[Specification], code: str, verdicts: Sequence[SpecVerdict], tools: Tools
) -> tuple[SpecVerdict, ...]:
    """Return the verdicts, those of which nothing is known with the model's opinion beside them."""
    unknown = {verdict.spec_id for verdict in verdicts if verdict.status is SpecStatus.UNKNOWN}
    shown = shown_code(code, task.language, MOST_SHOWN_CHARS)
    about = Submitted(code, task.language, "\n".join(filter(None, (task.task, task.context))))
    asked = {spec.id: spec.description for spec in specs if spec.id in unknown}
    views = opinions(about, shown.text, asked, tools)
    return tuple(beside(verdict, views.get(verdict.spec_id)) for verdict in verdicts)
