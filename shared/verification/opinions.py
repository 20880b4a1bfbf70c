"""A model's opinion where nothing can be run: marked as such, beside a verdict of N/A that it does not change."""

from __future__ import annotations

from collections.abc import Sequence

from shared.verification import prompts
from shared.verification.items import Claim, Submitted
from shared.verification.tools import Tools

MOST_ASKED = 8


def opinions(submitted: Submitted, shown: str, claims: Sequence[Claim], tools: Tools) -> dict[str, str]:
    """Return the model's opinion of each of the first eight claims, by id."""
    asked = claims[:MOST_ASKED]
    if not asked:
        return {}
    system, user = prompts.opinions(
        shown, [claim.description for claim in asked], language=submitted.language, context=submitted.context
    )
    answer = tools.asker.ask(
        system=system,
        user=user,
        schema=prompts.opinions_schema(len(asked)),
        name=prompts.OPINIONS,
        max_tokens=prompts.OPINIONS_MAX_TOKENS,
    )
    return {
        claim.id: f"A model's opinion, not checked: {opinion['holds']}. {opinion['reason']}".strip()
        for claim, opinion in zip(asked, answer["opinions"], strict=True)
    }
