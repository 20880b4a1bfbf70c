"""Chat completions as OpenAI's clients know them, over the same runs: policies, receipts and idempotency included."""

from __future__ import annotations

from typing import Any

from flask import Response

from shared.inference.model import Surface
from web.door import Answers
from web.gateway.asking import answer_to, asked
from web.gateway.chat_schemas import (
    ChatCompletionRequestSchema,
    ChatCompletionResponseSchema,
    OpenAiErrorResponseSchema,
)
from web.gateway.inference import RUNS_MODELS, operations
from web.gateway.inference_schemas import RunResponseSchema

_OPTIONS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "user",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "logprobs",
    "top_logprobs",
)
_REFUSALS = (400, 401, 402, 403, 404, 409, 410, 413, 415, 422, 429, 500, 503)


@operations.post(
    "/v1/chat/completions",
    "lucid_chat_completions",
    Answers(
        ChatCompletionResponseSchema,
        errors=(),
        also={202: RunResponseSchema, **dict.fromkeys(_REFUSALS, OpenAiErrorResponseSchema)},
        streams=True,
    ),
    body=ChatCompletionRequestSchema,
    guard=RUNS_MODELS,
    headers={"X-Payment-Proof": "Ignored: no call here is paid for by itself (x402 is not built)."},
)
def create_chat_completion(body: dict[str, Any]) -> Response:
    """Complete a chat, as OpenAI's API does

    For the official clients as they are: their errors, streams and tool calls. `policy` and `trace_id` are ours, `lucid` in the answer
    names the receipt.
    """
    options = {name: body[name] for name in _OPTIONS if name in body}
    return answer_to(asked(Surface.CHAT, body, model=body["model"], options=options))
