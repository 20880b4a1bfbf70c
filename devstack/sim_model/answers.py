"""What the simulated model says: a function of the request, and of nothing else."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devstack.sim_model.chat import BadRequest, ChatRequest
from devstack.sim_model.claims import claim_answer
from devstack.sim_model.faults import FaultPlan, asks_to_refuse
from devstack.sim_model.json_schema import Scene, UnsupportedSchema, is_valid, valid_document
from devstack.sim_model.specifications import specification_answer
from devstack.sim_model.tokens import count_prompt_tokens, split_tokens

REFUSAL = "Simulated refusal: asked for by a marker."
_NOT_JSON = "This is prose where a document was asked for: {never closed"
_LINE = (
    "the model holds a steady answer and this line repeats no thought of its own while each word follows from "
    "a digest so that two equal requests read alike and two unequal ones differ in plain sight of every test"
)
_VOCABULARY = tuple(_LINE.split())
_SEEDED_DEFECT = re.compile(r"\breturn\s+a\s*-\s*b\b")
_SEEDED_CALLS = (("1, 2", 3), ("0, 5", 5), ("-1, 1", 0), ("10, -4", 6))


@dataclass(frozen=True)
class Answer:
    """An answer as the tokens to send. With `tool` they are the arguments of a call to it."""

    tokens: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int
    tool: str | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """The whole content."""
        return "".join(self.tokens)

    @property
    def usage(self) -> dict[str, int]:
        """OpenAI's usage object."""
        completion = len(split_tokens(self.refusal)) if self.refusal else len(self.tokens)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }


def answer_to(request: ChatRequest, plan: FaultPlan) -> Answer:
    """Return the answer to `request`. Raises `BadRequest` for a schema beyond the generator."""
    prompt_tokens = count_prompt_tokens(message.text for message in request.messages)
    if plan.refusal:
        return Answer((), "stop", prompt_tokens, refusal=REFUSAL)
    if plan.empty:
        return Answer((), "stop", prompt_tokens)
    if request.forced_tool is not None:
        arguments = split_tokens(_document(request.forced_tool.parameters, request))
        return Answer(tuple(arguments), "tool_calls", prompt_tokens, tool=request.forced_tool.name)
    tokens = split_tokens(_cut_at_stop(_content(request, plan), request.stop))
    if request.max_tokens is not None and len(tokens) > request.max_tokens:
        return Answer(tuple(tokens[: request.max_tokens]), "length", prompt_tokens)
    return Answer(tuple(tokens), "stop", prompt_tokens)


def _content(request: ChatRequest, plan: FaultPlan) -> str:
    if plan.garbage_content:
        return _NOT_JSON
    if request.schema is not None:
        known = specification_answer(request) or claim_answer(request)
        if known is not None and is_valid(request.schema, known):
            return json.dumps(known, ensure_ascii=False)
        return _document(request.schema, request)
    if request.json_object:
        return json.dumps({"simulated": True, "digest": request.digest.hex()[:12]})
    return _prose(request, plan.tokens)


def _prose(request: ChatRequest, length: int | None) -> str:
    rng = random.Random(request.digest)
    opening = f"Simulated answer {request.digest.hex()[:8]}:"
    words = [opening, *(rng.choice(_VOCABULARY) for _ in range(length or 64))]
    tokens = split_tokens(" ".join(words))
    return "".join(tokens[: rng.randint(24, 56) if length is None else length])


def _document(schema: Mapping[str, Any], request: ChatRequest) -> str:
    try:
        document = valid_document(schema, seed=int.from_bytes(request.digest[:8]), scenes=_scenes(schema, request))
    except UnsupportedSchema as error:
        raise BadRequest(str(error), param="response_format", code="unsupported_schema") from error
    return json.dumps(document, ensure_ascii=False)


def _scenes(schema: Mapping[str, Any], request: ChatRequest) -> tuple[Scene, ...]:
    if _is_evaluation(schema):
        return (_evaluation(refused=asks_to_refuse(request.user_text)),)
    if _SEEDED_DEFECT.search(request.text) and re.search(r"\badd\b", request.text):
        return tuple(_seeded_defect(arguments, total) for arguments, total in _SEEDED_CALLS)
    return ()


def _is_evaluation(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return False
    kinds = [
        part.get("type") if isinstance(part, dict) else None for part in map(properties.get, ("accepted", "reason"))
    ]
    return kinds == ["boolean", "string"]


def _evaluation(*, refused: bool) -> Scene:
    if refused:
        return {
            "accepted": (False,),
            "reason": ("Simulated evaluation: the text asks to be refused.", "Refused.", "no"),
        }
    return {"accepted": (True,), "reason": ("Simulated evaluation: accepted.", "Accepted.", "ok")}


def _seeded_defect(arguments: str, total: int) -> Scene:
    """The verification document's example, as one who ran it would report it."""
    call = f"add({arguments})"
    return {
        "call": (call,),
        "expected": (total, str(total)),
        "correct": (False,),
        "verdict": ("FAIL", "fail"),
        "category": ("correctness",),
        "severity": ("critical",),
        "assertion": (f"{call} should return {total}",),
        "description": ("Function claims to add two numbers",),
        "reasoning": ("Returns a - b, not a + b",),
        "reason": ("Returns a - b, not a + b",),
        "evidence": ("return a - b",),
        "title": ("Fix subtraction to addition",),
        "action": ("modify",),
        "codeGuidance": ("Change 'return a - b' to 'return a + b'",),
    }


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> str:
    found = [position for position in (text.find(stop) for stop in stops) if position >= 0]
    return text[: min(found)] if found else text
