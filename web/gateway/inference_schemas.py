"""The shapes of inference as the gateway's contract has them, and of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, pre_load, validate, validates_schema

from shared.inference.model import MOST_LISTED, CancelReason, RunState, Surface
from web.body import Fields
from web.gateway.asked_fields import MOST_STOPS, AskedSchema, named, stop_text
from web.gateway.messages import Messages

DEFAULTS = {"max_tokens": 512, "temperature": 0.7, "top_p": 1.0}
UNSUPPORTED = (
    "compute_catalog",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "model_meta",
    "n",
    "presence_penalty",
    "response_format",
    "seed",
    "tool_choice",
    "tools",
)
"""Members that would change what the answer means, and that this address does not have: refused, not ignored."""


class InferenceRequestSchema(AskedSchema):
    """What to ask which model, and under which policy."""

    is_semantic = True

    model_passport_id = named()
    model = named(metadata={"description": "A model passport's id, passport:<id>, or its name."})
    prompt = fields.String(validate=validate.Length(min=1), metadata={"description": "Instead of messages."})
    messages = Messages(openai=False)
    stop = fields.List(stop_text(), validate=validate.Length(max=MOST_STOPS))

    @pre_load
    def refuse_unsupported(self, data: Any, **_options: Any) -> Any:
        """Raise `ValidationError` for a member that would change the answer, and that we do not have."""
        if isinstance(data, Mapping):
            for name in UNSUPPORTED:
                if name in data:
                    raise ValidationError("is not supported here; /v1/chat/completions may have it", name)
        return data

    @validates_schema
    def require_one_question_to_one_model(self, data: Mapping[str, Any], **_options: Any) -> None:
        """Raise `ValidationError` unless a model is named, and either a prompt or messages are there."""
        if not ("model" in data or "model_passport_id" in data):
            raise ValidationError("is required: name a model, or give its passport's id", "model")
        if "prompt" in data and "messages" in data:
            raise ValidationError("cannot come with messages: which of them is meant?", "prompt")
        if "prompt" not in data and "messages" not in data:
            raise ValidationError("is required, or a prompt", "messages")


class InferenceResultSchema(Fields):
    """A run's end: the answer, or why there is none. Times in milliseconds."""

    success = fields.Boolean(required=True)
    run_id = fields.String(required=True)
    request_id = fields.String()
    trace_id = fields.String()
    text = fields.String()
    finish_reason = fields.String()
    tokens_in = fields.Integer(required=True)
    tokens_out = fields.Integer(required=True)
    ttft_ms = fields.Integer(required=True)
    total_latency_ms = fields.Integer(required=True)
    model_passport_id = fields.String(required=True)
    compute_passport_id = fields.String(required=True)
    runtime = fields.String(required=True)
    policy_hash = fields.String()
    receipt_id = fields.String()
    used_fallback = fields.Boolean()
    fallback_reason = fields.String()
    error = fields.String()
    error_code = fields.String()


class FailedRunSchema(Fields):
    """A run that failed or was cancelled."""

    success = fields.Boolean()
    run_id = fields.String()
    request_id = fields.String()
    trace_id = fields.String()
    error = fields.String()
    message = fields.String()
    error_code = fields.String()
    total_latency_ms = fields.Integer()
    receipt_id = fields.String()
    details = fields.Raw()


class SaltsSchema(Fields):
    """What opens the receipt's commitments, in hex. Yours alone: who has a salt can test guesses."""

    input = fields.String()
    output = fields.String()


class RunSchema(Fields):
    """A run as it stands. Times are Unix seconds, durations milliseconds."""

    run_id = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf([str(state) for state in RunState]))
    surface = fields.String(required=True, validate=validate.OneOf([str(surface) for surface in Surface]))
    mode = fields.String(required=True, validate=validate.OneOf(["live", "test"]))
    streamed = fields.Boolean(required=True)
    detached = fields.Boolean(required=True, metadata={"description": "Nobody waits at a connection for it."})
    model = fields.String(required=True, metadata={"description": "As it was asked for."})
    model_passport_id = fields.String(required=True)
    policy_hash = fields.String(required=True)
    request_id = fields.String(required=True)
    trace_id = fields.String()
    project_id = fields.String()
    created_at = fields.Integer(required=True)
    ended_at = fields.Integer()
    cancel_reason = fields.String(validate=validate.OneOf([str(reason) for reason in CancelReason]))
    forgotten_at = fields.Integer(metadata={"description": "Since when neither its answer nor its salts are kept."})
    compute_passport_id = fields.String()
    runtime = fields.String()
    finish_reason = fields.String()
    text = fields.String(metadata={"description": "What the model wrote, as far as it came."})
    message = fields.Raw(metadata={"description": "Of a chat completion: the whole message, as OpenAI has it."})
    tokens_in = fields.Integer()
    tokens_out = fields.Integer()
    tokens_reported = fields.Boolean(metadata={"description": "The upstream counted them; else we estimated."})
    ttft_ms = fields.Integer()
    total_latency_ms = fields.Integer()
    used_fallback = fields.Boolean()
    fallback_reason = fields.String()
    error = fields.String()
    error_code = fields.String()
    receipt_id = fields.String()
    salts = fields.Nested(SaltsSchema)


class RunResponseSchema(Fields):
    """A run."""

    success = fields.Boolean(required=True)
    run = fields.Nested(RunSchema, required=True)


class RunListSchema(Fields):
    """Runs, newest first, without what they answered."""

    success = fields.Boolean(required=True)
    runs = fields.List(fields.Nested(RunSchema), required=True)
    next_before = fields.String(metadata={"description": "`before` of the next page, where there is one."})


class RunPageSchema(Fields):
    """Which runs."""

    before = fields.String(metadata={"description": "Only runs older than the one with this id."})
    limit = fields.Integer(load_default=20, validate=validate.Range(1, MOST_LISTED))
