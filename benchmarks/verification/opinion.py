"""The other way: the same model is asked for claims, and then for its own verdict on each. Nothing is run, as in the original.

It sees the code as it is, comments included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.verification.items import Ruling, Submitted
from shared.verification.tools import Asker

_MOST_SHOWN_CHARS = 6_000
_CLAIMS_MAX_TOKENS = 700
_VERDICTS_MAX_TOKENS = 900
_EXTRACT = (
    "You extract testable claims from code: what it promises, explicitly or by its names, signatures, error handling and limits."
    " Each claim is one sentence that a check of the code can find true or false."
)
_JUDGE = (
    "You verify claims against code. For each claim, in order: `verdict` PASS if the code fulfils it, FAIL if it does not, PARTIAL if"
    " it does in part, N/A if it cannot be judged; then `reasoning`, one sentence that quotes the code."
)


@dataclass(frozen=True)
class Opinion:
    """One claim and the model's own verdict on it."""

    claim: str
    verdict: Ruling
    reasoning: str


def opinions(submitted: Submitted, asker: Asker) -> tuple[Opinion, ...]:
    """Return the model's claims with its verdicts: two questions. Raises what `asker` raises."""
    about = _about(submitted)
    claims = asker.ask(
        system=_EXTRACT, user=about, schema=_claims_schema(), name="opinion_claims", max_tokens=_CLAIMS_MAX_TOKENS
    )["claims"]
    listed = "\n".join(f"{number}. {claim}" for number, claim in enumerate(claims, 1))
    verdicts = asker.ask(
        system=_JUDGE,
        user=f"{about}\n\nClaims:\n{listed}",
        schema=_verdicts_schema(len(claims)),
        name="opinion_verdicts",
        max_tokens=_VERDICTS_MAX_TOKENS,
    )["verdicts"]
    return tuple(
        Opinion(claim, Ruling(found["verdict"]), found["reasoning"])
        for claim, found in zip(claims, verdicts, strict=True)
    )


def _about(submitted: Submitted) -> str:
    context = f"Context: {submitted.context}\n" if submitted.context else ""
    return f"Language: {submitted.language}\n{context}Code:\n{submitted.code[:_MOST_SHOWN_CHARS]}"


def _claims_schema() -> dict[str, Any]:
    claim = {"type": "string", "minLength": 8, "maxLength": 200}
    return _object({"claims": {"type": "array", "items": claim, "minItems": 3, "maxItems": 8}})


def _verdicts_schema(count: int) -> dict[str, Any]:
    members = {
        "verdict": {"type": "string", "enum": [ruling.value for ruling in Ruling]},
        "reasoning": {"type": "string", "maxLength": 200},
    }
    return _object({"verdicts": {"type": "array", "items": _object(members), "minItems": count, "maxItems": count}})


def _object(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}
