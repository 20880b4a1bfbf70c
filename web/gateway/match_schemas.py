"""The shapes of matching. What a model and a node say of themselves is described here and judged by the catalogue's own schemas."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from web.body import Fields
from web.gateway.asked_fields import PolicyText, named, tagged
from web.typed_fields import Flag

MOST_NODES = 256
RUNTIMES = (
    "vllm",
    "tgi",
    "tensorrt",
    "trustgate",
    "openai",
    "openai-compatible",
    "hf-inference-api",
    "ollama",
    "llama.cpp",
    "xllamacpp",
    "custom",
)
"""The contract has one list for models and another for nodes, and no node could say that it runs what a model recommends."""
_AT_LEAST_0 = validate.Range(min=0)
_AT_LEAST_1 = validate.Range(min=1)
_URI = {"format": "uri"}


class AsWritten(fields.Nested):
    """An object described by a schema and handed on as it came."""

    def __init__(self, described: type[Schema], **options: Any) -> None:
        super().__init__(described, **options)

    def _deserialize(self, value: Any, *_place: Any, **_options: Any) -> Any:
        return value


class ModelRequirementsSchema(Fields):
    """What a model needs. `gpu_classes` and `cuda_min` count where the node states its own."""

    min_vram_gb = fields.Integer(validate=_AT_LEAST_0)
    gpu_classes = fields.List(fields.String())
    cuda_min = fields.String()


class HfSourceSchema(Fields):
    """Where its weights are published."""

    repo_id = fields.String()
    revision = fields.String()


class ModelEndpointsSchema(Fields):
    """Where an API serves it."""

    openai_compat_base_url = fields.String()
    auth_mode = fields.String(validate=validate.OneOf(["byok", "lucid_key", "none"]), load_default="none")


class ModelMetaSchema(Fields):
    """What a model is and needs."""

    schema_version = fields.String(required=True, validate=validate.OneOf(["1.0", "2.0"]))
    model_passport_id = fields.String(required=True, validate=validate.Length(min=10))
    format = fields.String(required=True, validate=validate.OneOf(["safetensors", "gguf", "api"]))
    runtime_recommended = fields.String(required=True, validate=validate.OneOf(RUNTIMES))
    api_model_id = fields.String(metadata={"description": "Required where the format is api."})
    provider_model_id = fields.String()
    name = fields.String()
    description = fields.String()
    provider = fields.String()
    base = fields.String(
        validate=validate.OneOf(["hf", "openai", "anthropic", "google", "cohere", "custom_endpoint"]), load_default="hf"
    )
    hf = fields.Nested(HfSourceSchema)
    context_length = fields.Integer(validate=_AT_LEAST_1)
    quantizations = fields.List(fields.String(validate=validate.OneOf(["fp16", "int8", "awq", "gptq", "gguf_q4"])))
    requirements = fields.Nested(ModelRequirementsSchema)
    endpoints = fields.Nested(ModelEndpointsSchema)
    artifacts = fields.List(fields.String())
    weights_uri = fields.String()
    weights_hash = fields.String()


class ComputeHardwareSchema(Fields):
    """What a node is made of. Sizes in GB."""

    gpu = fields.String(required=True)
    vram_gb = fields.Integer(required=True, validate=_AT_LEAST_0)
    arch = fields.String()
    gpu_count = fields.Integer(validate=_AT_LEAST_1, load_default=1)
    cpu_cores = fields.Integer(validate=_AT_LEAST_1)
    memory_gb = fields.Integer(validate=_AT_LEAST_1)


class ComputeRuntimeSchema(Fields):
    """What runs models on a node."""

    name = fields.String(required=True, validate=validate.OneOf(RUNTIMES))
    version = fields.String()
    image = fields.String()


class ComputeCapabilitiesSchema(Fields):
    """What a node says that it can. Nobody here verifies it."""

    supports_streaming = fields.Boolean(load_default=True)
    supports_attestation = fields.Boolean(load_default=False)
    supports_cc_on = fields.Boolean(load_default=False)
    inference_types = fields.List(
        fields.String(
            validate=validate.OneOf(
                ["text-generation", "chat-completion", "embeddings", "image-generation", "speech-to-text"]
            )
        )
    )


class ComputeEndpointsSchema(Fields):
    """Where a node is called."""

    inference_url = fields.String(required=True)
    quote_url = fields.String(metadata=_URI)
    jobs_url = fields.String(metadata=_URI)
    health_url = fields.String(metadata=_URI)
    metrics_url = fields.String(metadata=_URI)


class ComputeWorkerSchema(Fields):
    """A machine behind a node."""

    worker_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["online", "offline", "degraded", "draining"]))
    last_heartbeat = fields.Integer()


class ComputeNetworkSchema(Fields):
    """How far away it is."""

    p95_ms_estimate = fields.Integer(validate=_AT_LEAST_0)
    bandwidth = fields.String()


class ComputeLimitsSchema(Fields):
    """How much it takes."""

    max_context = fields.Integer(validate=_AT_LEAST_0)
    max_batch = fields.Integer(validate=_AT_LEAST_0)
    max_input_tokens = fields.Integer(validate=_AT_LEAST_1)
    max_output_tokens = fields.Integer(validate=_AT_LEAST_1)
    requests_per_minute = fields.Integer(validate=_AT_LEAST_1)


class ComputePricingSchema(Fields):
    """What it costs: dollars where no currency is named. In lamports or credits it counts as unknown."""

    price_per_1k_tokens_estimate = fields.Float(validate=_AT_LEAST_0)
    price_per_minute_estimate = fields.Float(validate=_AT_LEAST_0)
    per_input_token = fields.Float(validate=_AT_LEAST_0)
    per_output_token = fields.Float(validate=_AT_LEAST_0)
    currency = fields.String(validate=validate.OneOf(["lamports", "usd_cents", "credits"]))


class ComputeSlaSchema(Fields):
    """What its operator promises."""

    tier = fields.String(validate=validate.OneOf(["best-effort", "standard", "premium", "enterprise"]))
    uptime_target = fields.Float(validate=validate.Range(0, 100))


class ComputeMetaSchema(Fields):
    """What a node says of itself. A policy tag `spot` declares spot capacity; `metadata.models` what it serves."""

    schema_version = fields.String(required=True, validate=validate.OneOf(["1.0"]))
    compute_passport_id = fields.String(required=True, validate=validate.Length(min=10))
    provider_type = fields.String(required=True, validate=validate.OneOf(["depin", "cloud", "onprem", "managed"]))
    execution_mode = fields.String(validate=validate.OneOf(["byo_runtime", "managed_endpoint"]))
    operator_pubkey = fields.String(metadata={"pattern": "^[a-f0-9]{64}$"})
    regions = fields.List(fields.String(), required=True, validate=validate.Length(min=1))
    residency_supported = fields.Boolean(load_default=False)
    hardware = fields.Nested(ComputeHardwareSchema, required=True)
    gpu_fingerprint = fields.String(allow_none=True)
    runtime_hash = fields.String(allow_none=True, metadata={"pattern": "^sha256:[a-f0-9]{64}$"})
    runtimes = fields.List(fields.Nested(ComputeRuntimeSchema), required=True, validate=validate.Length(min=1))
    capabilities = fields.Nested(ComputeCapabilitiesSchema)
    network = fields.Nested(ComputeNetworkSchema)
    limits = fields.Nested(ComputeLimitsSchema)
    pricing = fields.Nested(ComputePricingSchema)
    endpoints = fields.Nested(ComputeEndpointsSchema, required=True)
    workers = fields.List(fields.Nested(ComputeWorkerSchema))
    sla = fields.Nested(ComputeSlaSchema)
    policy_tags = fields.List(fields.String())
    metadata = fields.Dict()


class ExplainRequestSchema(Fields):
    """A policy, and the node to hold it against."""

    policy = PolicyText()
    compute_meta = AsWritten(ComputeMetaSchema)
    model_meta = AsWritten(ModelMetaSchema)


class MatchRequestSchema(Fields):
    """A model, a policy and the nodes to choose from. Without a catalogue, those that you may use."""

    is_semantic = True

    model_meta = AsWritten(ModelMetaSchema)
    model = named(metadata={"description": "Instead of model_meta: a model passport's id, passport:<id>, or its name."})
    policy = PolicyText()
    compute_catalog = fields.List(AsWritten(ComputeMetaSchema), validate=validate.Length(max=MOST_NODES))
    require_live_healthy = Flag(load_default=True)


class RouteRequestSchema(MatchRequestSchema):
    """A model, a policy and the nodes to choose from; `request_id` comes back."""

    request_id = tagged("Comes back verbatim.")


class ExplainedSchema(Fields):
    """Whether the policy allows the node; without one, whether the policy is one."""

    success = fields.Boolean(required=True)
    allowed = fields.Boolean(required=True)
    reasons = fields.List(fields.String(), required=True)
    policy_hash = fields.String(required=True)
    evidence = fields.String(metadata={"description": "What the judgement rests on: `declared`, the node's own word."})


class MatchedSchema(Fields):
    """The node that was chosen, and why not the others."""

    success = fields.Boolean(required=True)
    match = fields.Dict(required=True)
    explain = fields.Dict(required=True)


class PlaceSchema(Fields):
    """Where the request would go."""

    compute_passport_id = fields.String()
    model_passport_id = fields.String()
    endpoint = fields.String()
    runtime = fields.String()
    policy_hash = fields.String()
    fallbacks = fields.List(fields.Dict())


class RoutedSchema(Fields):
    """Where the request would go, and why not elsewhere."""

    success = fields.Boolean(required=True)
    request_id = fields.String()
    route = fields.Nested(PlaceSchema, required=True)
    explain = fields.Dict(required=True)


class UnmatchedSchema(Fields):
    """Nothing may run it, or something of the request is wrong. `explain` and `details`: every node with its reasons."""

    success = fields.Boolean()
    error = fields.String()
    message = fields.String()
    error_code = fields.String()
    details = fields.Raw()
    explain = fields.Dict()
    request_id = fields.String()


class PaymentSchema(Fields):
    """How to pay."""

    chain = fields.String(required=True)
    token = fields.String(required=True)
    tokenAddress = fields.String(required=True)  # noqa: N815 - the contract's name
    amount = fields.String(required=True)
    recipient = fields.String(required=True)
    facilitator = fields.String(required=True)
    scheme = fields.String(required=True, validate=validate.OneOf(["exact"]))


class X402Schema(Fields):
    """An offer to sell a call."""

    version = fields.String(required=True)
    facilitator = fields.String(required=True)
    description = fields.String()
    payment = fields.Nested(PaymentSchema, required=True)
    alternatives = fields.List(fields.Dict())
    splits = fields.List(fields.Dict())
    expires = fields.Integer(required=True)


class X402PaymentRequiredSchema(Fields):
    """In the contract, and never answered: no call here is sold by x402."""

    error = fields.String(required=True)
    x402 = fields.Nested(X402Schema, required=True)
