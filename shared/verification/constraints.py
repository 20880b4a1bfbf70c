"""What generated code must do, must not do, and should: from the domains the task names, then from its specifications."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from shared.verification import reverse_prompts as prompts
from shared.verification.items import Constraint, ConstraintSource, ConstraintType, Specification, Task
from shared.verification.patterns import matching
from shared.verification.tools import Tools

_CASE = re.compile(r"\breturns?\b.*[\d\"'\[{]|\([^()]*\d[^()]*\)", re.IGNORECASE)
"""A specification said again, `return 1.5 for …`: no constraint of its own."""
_WORDLESS = re.compile(r"[\W_]+")


def constrain(task: Task, specs: Sequence[Specification], tools: Tools) -> tuple[Constraint, ...]:
    """Return the constraints, those of the task's domains first, no two saying the same."""
    system, user = prompts.constraints(task, specs)
    answer = tools.asker.ask(
        system=system,
        user=user,
        schema=prompts.CONSTRAINT_SCHEMA,
        name="verification_constraints",
        max_tokens=prompts.CONSTRAINT_TOKENS,
        seed=31,
    )
    tools.check()
    drawn = [
        Constraint("", ConstraintType(item["type"]), " ".join(item["description"].split()), ConstraintSource.SPEC)
        for item in prompts.named_items(answer)
    ]
    general = [one for one in drawn if not _CASE.search(one.description)]
    return _numbered([*_of_domains(task), *(general or drawn)])


def _of_domains(task: Task) -> list[Constraint]:
    text = f"{task.task}\n{task.context or ''}"
    return [
        Constraint("", rule.type, rule.description, ConstraintSource.DOMAIN, rule.examples.get(task.language))
        for rule in matching(text, task.language)
    ]


def _numbered(constraints: Sequence[Constraint]) -> tuple[Constraint, ...]:
    distinct: dict[str, Constraint] = {}
    for constraint in constraints:
        distinct.setdefault(_WORDLESS.sub(" ", constraint.description.lower()).strip(), constraint)
    distinct.pop("", None)
    return tuple(replace(one, id=f"CON-{number:03}") for number, one in enumerate(distinct.values(), start=1))
