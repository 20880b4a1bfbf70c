"""The stages of `reverse`: specify → constrain → generate → verify → repair."""

from __future__ import annotations

from collections.abc import Sequence

from shared.verification.conformance import SecondProgram, held
from shared.verification.constraints import constrain
from shared.verification.generation import generate
from shared.verification.items import Specification, SpecVerdict, Task
from shared.verification.repair import program_beside, repair
from shared.verification.specifications import specify
from shared.verification.tools import Tools

__all__ = ["constrain", "generate", "repair", "specify", "verify"]


def verify(task: Task, specs: Sequence[Specification], code: str, tools: Tools) -> tuple[SpecVerdict, ...]:
    """Return one verdict for each specification, in their order; without a second program that can be read, none is disputed."""
    second = SecondProgram(task, specs[0].assertion, tools)
    return held(task, specs, code, tools, lambda: program_beside(second, code, tools))
