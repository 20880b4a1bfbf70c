"""The shapes of chat completions: the gateway contract's, and what OpenAI's clients send besides.

The document shows messages as the contract has them; OpenAI's further roles, parts and tool calls are read too (`docs/gateway.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, pre_load, validate, validates_schema

from web.body import Fields
from web.gateway.asked_fields import MOST_STOPS, MOST_TOKENS, AskedSchema, named, printable, stop_text
from web.gateway.messages import ChatMessageSchema, Messages
from web.gateway.tools import ResponseFormat, ToolChoice, Tools, require_offered
from web.typed_fields import Flag, Real, Whole

MOST_LOGPROBS = 20
_INT64 = 2**63
UNSUPPORTED = (
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "modalities",
    "moderation",
    "prediction",
    "reasoning_effort",
    "store",
    "verbosity",
    "web_search_options",
)
"""What would change the answer, or what becomes of it, and is not built. `IGNORED` changes neither."""
IGNORED = (
    "metadata",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
)
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "store": (False,),
    "functions": ([],),
    "logit_bias": ({},),
    "tools": ([],),
}
"""Values that ask for what is so anyway."""


class Stop(fields.Raw):
    """Where an answer ends: one text, or up to four."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        return [str(text) for text in _STOPS.deserialize(texts, attr, data, **options)]


_STOPS = fields.List(stop_text(), validate=validate.Length(max=MOST_STOPS))


class StreamOptionsSchema(Fields):
    """What a stream holds besides the answer."""

    include_usage = Flag()


class ChatCompletionRequestSchema(AskedSchema):
    """A request as OpenAI's clients send it, with a policy."""

    model = named(required=True)
    messages = Messages(openai=True, required=True)
    stop = Stop(metadata={"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    max_completion_tokens = Whole(
        validate=validate.Range(1, MOST_TOKENS), metadata={"description": "The newer name of max_tokens."}
    )
    n = Whole(metadata={"description": "1: a run has one answer."})
    seed = Whole(validate=validate.Range(-_INT64, _INT64 - 1))
    frequency_penalty = Real(validate=validate.Range(-2, 2))
    presence_penalty = Real(validate=validate.Range(-2, 2))
    user = fields.String(validate=validate.And(validate.Length(max=512), printable))
    tools = Tools(metadata={"type": "array", "items": {"type": "object"}})
    tool_choice = ToolChoice(metadata={"oneOf": [{"type": "string"}, {"type": "object"}]})
    parallel_tool_calls = Flag()
    response_format = ResponseFormat(metadata={"type": "object"})
    logprobs = Flag()
    top_logprobs = Whole(validate=validate.Range(0, MOST_LOGPROBS))
    stream_options = fields.Nested(StreamOptionsSchema)

    @pre_load
    def refuse_unsupported(self, data: Any, **_options: Any) -> Any:
        """Leave out what is null, which OpenAI's clients send for absent. Raise `ValidationError` for what is not built."""
        if not isinstance(data, Mapping):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        harmless = {name for name, values in _HARMLESS.items() if name in given and given[name] in values}
        for name in UNSUPPORTED:
            if name in given and name not in harmless:
                raise ValidationError("is not supported", name)
        return {name: value for name, value in given.items() if name not in harmless}

    @validates_schema
    def require_sense(self, data: Mapping[str, Any], **_options: Any) -> None:
        """Raise `ValidationError` for members that contradict one another."""
        if data.get("n", 1) != 1:
            raise ValidationError("must be 1: a run has one answer", "n")
        if "stream_options" in data and not data.get("stream"):
            raise ValidationError("is allowed with stream only", "stream_options")
        if "top_logprobs" in data and not data.get("logprobs"):
            raise ValidationError("needs logprobs to be true", "top_logprobs")
        most = data.get("max_completion_tokens")
        if most is not None and data.get("max_tokens", most) != most:
            raise ValidationError("is not what max_completion_tokens says", "max_tokens")
        require_offered(data.get("tool_choice"), data.get("tools"))
        if "parallel_tool_calls" in data and "tools" not in data:
            raise ValidationError("is allowed with tools only", "parallel_tool_calls")

    @post_load
    def with_one_bound(self, data: dict[str, Any], **_options: Any) -> dict[str, Any]:
        """Return the request with the newer name of the bound under the older one, which every server knows."""
        most = data.pop("max_completion_tokens", None)
        return data if most is None else {**data, "max_tokens": most}


class ChoiceSchema(Fields):
    """The one answer."""

    index = fields.Integer()
    message = fields.Nested(ChatMessageSchema)
    finish_reason = fields.String(allow_none=True)
    logprobs = fields.Raw(allow_none=True)


class UsageSchema(Fields):
    """What was counted."""

    prompt_tokens = fields.Integer(required=True)
    completion_tokens = fields.Integer(required=True)
    total_tokens = fields.Integer(required=True)


class LucidSchema(Fields):
    """What proves the answer."""

    run_id = fields.String()
    receipt_id = fields.String()
    compute_passport_id = fields.String()
    policy_hash = fields.String()
    ttft_ms = fields.Integer()


class ChatCompletionResponseSchema(Fields):
    """A completion, as OpenAI has it."""

    id = fields.String(required=True)
    object = fields.String(required=True)
    created = fields.Integer(required=True)
    model = fields.String(required=True)
    choices = fields.List(fields.Nested(ChoiceSchema), required=True)
    usage = fields.Nested(UsageSchema, required=True)
    lucid = fields.Nested(LucidSchema)


class OpenAiErrorSchema(Fields):
    """An error, as OpenAI's clients read it."""

    message = fields.String(required=True)
    type = fields.String(required=True)
    param = fields.String(allow_none=True, required=True)
    code = fields.String(allow_none=True, required=True)


class OpenAiErrorResponseSchema(Fields):
    """An error of the OpenAI-compatible addresses."""

    error = fields.Nested(OpenAiErrorSchema, required=True)
    lucid = fields.Nested(LucidSchema, metadata={"description": "Of the run that failed, where there was one."})
