"""The other way to code from a task: the same model is asked once, in plain words, and what it gives is taken."""

from __future__ import annotations

import re

from benchmarks.verification.corpus import Assignment
from benchmarks.verification.counting import CountingAsker

_MAX_TOKENS = 1_800
"""What one answer of the pipeline's own generation may have."""
_SYSTEM = "You write {language} code. Answer with the code alone: no explanation, no examples of its use."
_FENCED = re.compile(r"```[^\n]*\n(?P<code>.*?)(?:```|\Z)", re.DOTALL)


def one_shot(assignment: Assignment, asker: CountingAsker) -> str:
    """Return the code of one answer. Raises what `asker` raises."""
    system = _SYSTEM.format(language=assignment.language)
    return code_of(asker.text(system=system, user=assignment.task, max_tokens=_MAX_TOKENS))


def code_of(answer: str) -> str:
    """Return what stands in the longest fence of an answer; without a fence, all of it."""
    return max((found["code"] for found in _FENCED.finditer(answer)), key=len, default=answer)
