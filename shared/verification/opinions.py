"""A model's opinion where nothing can be run: marked as such, beside a verdict of N/A that it does not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from shared.verification import prompts
from shared.verification.items import EvidenceKind, SpecVerdict, Submitted, Verdict
from shared.verification.tools import Tools

V = TypeVar("V", Verdict, SpecVerdict)
MOST_ASKED = 8
"""In one question. More are asked about in further ones."""


def opinions(about: Submitted, shown: str, statements: Mapping[str, str], tools: Tools) -> dict[str, str]:
    """Return the model's opinion of each statement, by id; none of those for which its answer cannot be read."""
    every, held = list(statements.items()), dict[str, str]()
    for first in range(0, len(every), MOST_ASKED):
        held |= _opinions(about, shown, dict(every[first : first + MOST_ASKED]), tools)
    return held


def beside(verdict: V, opinion: str | None) -> V:
    """Return the verdict with the model's opinion beside it, as far as there is one: then it rests on nothing else."""
    return verdict if opinion is None else replace(verdict, opinion=opinion, evidence_kind=EvidenceKind.OPINION)


def _opinions(about: Submitted, shown: str, asked: Mapping[str, str], tools: Tools) -> dict[str, str]:
    tools.check()
    system, user = prompts.opinions(shown, list(asked.values()), language=about.language, context=about.context)
    question = partial(
        tools.asker.ask,
        system=system,
        user=user,
        schema=prompts.opinions_schema(len(asked)),
        name=prompts.OPINIONS,
        max_tokens=prompts.OPINIONS_MAX_TOKENS,
    )
    answer = tools.if_readable(question)
    if answer is None:
        return {}
    return {
        statement_id: f"A model's opinion, not checked: {opinion['holds']}. {opinion['reason']}".strip()
        for statement_id, opinion in zip(asked, answer["opinions"], strict=True)
    }
