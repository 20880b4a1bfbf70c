"""A model's opinion where nothing can be run: marked as such, beside a verdict of N/A that it does not change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from shared.verification import prompts
from shared.verification.items import Claim, Submitted
from shared.verification.tools import Tools

MOST_ASKED = 8
"""In one question. More are asked about in further ones."""


def opinions(submitted: Submitted, shown: str, claims: Sequence[Claim], tools: Tools) -> dict[str, str]:
    """Return the model's opinion of each of the claims, by id; none of those for which its answer cannot be read."""
    held: dict[str, str] = {}
    for first in range(0, len(claims), MOST_ASKED):
        held |= _opinions(submitted, shown, claims[first : first + MOST_ASKED], tools)
    return held


def _opinions(submitted: Submitted, shown: str, asked: Sequence[Claim], tools: Tools) -> dict[str, str]:
    tools.check()
    system, user = prompts.opinions(
        shown, [claim.description for claim in asked], language=submitted.language, context=submitted.context
    )
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
        claim.id: f"A model's opinion, not checked: {opinion['holds']}. {opinion['reason']}".strip()
        for claim, opinion in zip(asked, answer["opinions"], strict=True)
    }
