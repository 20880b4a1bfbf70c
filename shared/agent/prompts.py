"""What the models are told. Prompts are short: a small local model reads about 100 tokens a second."""

from __future__ import annotations

from typing import Any

from shared.llm.model import ChatMessage

EVALUATION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": 1, "maxLength": 300},
        "accepted": {"type": "boolean"},
    },
    "required": ["reason", "accepted"],
    "additionalProperties": False,
}
EVALUATION_MAX_TOKENS = 160

# Worded against the local 1.5B model: with the request bare and the question after it, it judged 16 of
# 16 sample requests as a person would; tags and a question up front cost it two to three of them.
_EVALUATE = (
    "You decide whether a paid writing and programming assistant takes a job. It answers with text or code only. Take every"
    " question, explanation, translation, text to write (poems, emails, stories) and piece of code. Refuse only what is dangerous"
    " or illegal (weapons, malware, abuse) and what needs actions outside the chat (booking, sending, browsing, files). Never do"
    " the job yourself. Reply in JSON: reason, one short sentence about this request; accepted, true or false."
)
_EXECUTE = "You are a capable assistant. Do what the user asks, correctly and briefly."


def evaluation(request: str) -> list[ChatMessage]:
    """Return the messages that have a request judged."""
    return [ChatMessage("system", _EVALUATE), ChatMessage("user", f"Customer's request:\n{request}\n\nIs it accepted?")]


def execution(request: str) -> list[ChatMessage]:
    """Return the messages that have a request done."""
    return [ChatMessage("system", _EXECUTE), ChatMessage("user", request)]
