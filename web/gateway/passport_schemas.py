"""Passports and nodes as the gateway's contract shapes them, and what we add."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, validate

from shared.catalog.model import NodeStatus, PassportStatus, PassportType, SortBy
from web.body import Fields
from web.gateway.schemas import PaginationSchema
from web.typed_fields import Document, Whole

TYPES = [str(type_) for type_ in PassportType]
STATUSES = [str(status) for status in PassportStatus]
MOST_TAGS = 32
LONGEST_SEARCH = 500
MOST_USD = 1_000_000
MOST_COUNT = 2**31 - 1
_TAG = validate.Regexp(r"[^,\x00-\x1f]{1,64}\Z", error="must have 1 to 64 characters, no comma among them")
_PICODOLLAR = Decimal("1E-12")


class Exact(fields.Decimal):
    """A JSON number, read as the decimal that it was written as; kept to twelve places."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:  # noqa: ARG002 - marshmallow's signature
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValidationError("must be a number")
        number = Decimal(repr(value))
        return number.quantize(_PICODOLLAR).normalize() + 0 if abs(number) <= MOST_USD else number


class Words(fields.String):
    """Words joined by commas."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        return [word for part in text.split(",") if (word := part.strip())]


class ManyWords(fields.List[str]):
    """Words joined by commas, or the parameter repeated."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        words = [word for text in value for part in str(text).split(",") if (word := part.strip())]
        return super()._deserialize(words, attr, data, **options)


# -- passports


class PassportSchema(Fields):
    """A passport. Times in Unix milliseconds. Nothing here is on a chain, so `on_chain` is null."""

    passport_id = fields.String(required=True)
    type = fields.String(required=True, metadata={"enum": TYPES})
    owner = fields.String(required=True)
    name = fields.String(allow_none=True)
    description = fields.String(allow_none=True)
    version = fields.String(allow_none=True)
    tags = fields.List(fields.String(), allow_none=True)
    status = fields.String(required=True, metadata={"enum": STATUSES})
    metadata = fields.Dict(allow_none=True)
    metadata_hash = fields.String(allow_none=True, metadata={"description": "SHA-256 of the metadata's RFC 8785 form."})
    created_at = fields.Integer(required=True)
    updated_at = fields.Integer(required=True)
    on_chain = fields.Dict(allow_none=True)
    pricing = fields.Dict(metadata={"description": "As PATCH …/pricing set it."})
    endpoints = fields.Dict(metadata={"description": "As PATCH …/endpoints set them; they outrank the metadata's."})
    simulated = fields.Boolean(metadata={"description": "Of the simulated model: what it answers is made up."})


class CreatePassportRequestSchema(Fields):
    """A passport to be. Its metadata names itself by a placeholder that the id replaces."""

    type = fields.String(required=True, metadata={"enum": TYPES})
    owner = fields.String(
        required=True, metadata={"description": "0x and 40 hex digits, or base58 of 32 to 44 characters."}
    )
    metadata = Document(required=True)
    name = fields.String(validate=validate.Length(max=200))
    description = fields.String(validate=validate.Length(max=4000))
    version = fields.String(validate=validate.Length(max=64))
    tags = fields.List(fields.String(validate=_TAG), validate=validate.Length(max=MOST_TAGS))


class UpdatePassportRequestSchema(Fields):
    """What is to be another; at least one member."""

    metadata = Document()
    name = fields.String(validate=validate.Length(max=200))
    description = fields.String(validate=validate.Length(max=4000))
    version = fields.String(validate=validate.Length(max=64))
    tags = fields.List(fields.String(validate=_TAG), validate=validate.Length(max=MOST_TAGS))
    status = fields.String(validate=validate.OneOf(STATUSES))


class RevenueSplitSchema(Fields):
    """Basis points; they sum to 10 000."""

    compute_bps = Whole()
    model_bps = Whole()
    protocol_bps = Whole()


class UpdatePassportPricingRequestSchema(Fields):
    """Pricing to be merged into what is there."""

    price_per_request = Exact(validate=validate.Range(min=0, max=MOST_USD))
    billing_model = fields.String(validate=validate.Length(min=1, max=64))
    revenue_split = fields.Nested(RevenueSplitSchema)


class UpdatePassportEndpointsRequestSchema(Fields):
    """Addresses to be merged into what is there."""

    inference_url = fields.String(metadata={"format": "uri"})
    health_url = fields.String(metadata={"format": "uri"})
    api_base_url = fields.String(metadata={"format": "uri"})


class CreatePassportResponseSchema(Fields):
    """The passport that was made."""

    success = fields.Boolean(required=True)
    passport_id = fields.String(required=True)
    passport = fields.Nested(PassportSchema, required=True)


class GetPassportResponseSchema(Fields):
    """One passport."""

    success = fields.Boolean(required=True)
    passport = fields.Nested(PassportSchema, required=True)


class DeletedSchema(Fields):
    """It is revoked, and can still be read."""

    success = fields.Boolean(required=True)
    deleted = fields.Boolean(required=True)


class _PageSchema(Fields):
    """What every page of passports has besides the passports, which each address calls by a name of its own."""

    success = fields.Boolean(required=True)
    pagination = fields.Nested(PaginationSchema, required=True)


class ListPassportsResponseSchema(_PageSchema):
    """A page of passports."""

    passports = fields.List(fields.Nested(PassportSchema), required=True)


class ListToolsResponseSchema(_PageSchema):
    """A page of tools."""

    tools = fields.List(fields.Nested(PassportSchema), required=True)


class ListDatasetsResponseSchema(_PageSchema):
    """A page of datasets."""

    datasets = fields.List(fields.Nested(PassportSchema), required=True)


class ListAgentsResponseSchema(_PageSchema):
    """A page of agents."""

    agents = fields.List(fields.Nested(PassportSchema), required=True)


class ListComputeResponseSchema(_PageSchema):
    """A page of nodes."""

    compute = fields.List(fields.Nested(PassportSchema), required=True)


class OpenAIModelSchema(Fields):
    """A model as OpenAI's clients read it. `id` is what to send as `model`; `created` in Unix seconds."""

    id = fields.String(required=True)
    object = fields.String(required=True)
    created = fields.Integer(required=True)
    owned_by = fields.String(required=True)
    passport_id = fields.String()


class ListModelsResponseSchema(Fields):
    """A page of models, in the contract's shape and in OpenAI's."""

    success = fields.Boolean(required=True)
    models = fields.List(fields.Nested(PassportSchema), required=True)
    pagination = fields.Nested(PaginationSchema, required=True)
    object = fields.String()
    data = fields.List(fields.Nested(OpenAIModelSchema))


class CountsByTypeSchema(Fields):
    """How many of each type."""

    model = fields.Integer()
    compute = fields.Integer()
    tool = fields.Integer()
    dataset = fields.Integer()
    agent = fields.Integer()
    voice = fields.Integer()
    other = fields.Integer()


class CountsByStatusSchema(Fields):
    """How many of each status."""

    active = fields.Integer()
    deprecated = fields.Integer()
    revoked = fields.Integer()


class PassportFiguresSchema(Fields):
    """The catalogue in numbers, as far as the caller sees it."""

    total = fields.Integer(required=True)
    by_type = fields.Nested(CountsByTypeSchema, required=True)
    by_status = fields.Nested(CountsByStatusSchema, required=True)


class PassportStatsResponseSchema(Fields):
    """The catalogue in numbers."""

    success = fields.Boolean(required=True)
    stats = fields.Nested(PassportFiguresSchema, required=True)


# -- nodes


class ComputeHeartbeatSchema(Fields):
    """What a node says of itself; it replaces all that it said before. Dollars per 1000 tokens, milliseconds."""

    compute_passport_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf([str(status) for status in NodeStatus]))
    queue_depth = Whole(validate=validate.Range(min=0, max=MOST_COUNT))
    price_per_1k_tokens_estimate = Exact(validate=validate.Range(min=0, max=MOST_USD))
    p95_ms_estimate = Exact(validate=validate.Range(min=0, max=MOST_USD))


class NodeStateResponseSchema(Fields):
    """A node's newest heartbeat. Times in Unix milliseconds."""

    success = fields.Boolean()
    state = fields.Dict()


class NodeHistorySchema(Fields):
    """A node's heartbeats of the last hour, newest first."""

    success = fields.Boolean(required=True)
    compute_passport_id = fields.String(required=True)
    heartbeats = fields.List(fields.Dict(), required=True)


class NodeHistoryQuerySchema(Fields):
    """How many heartbeats."""

    limit = fields.Integer(load_default=360, validate=validate.Range(min=1, max=1000))


# -- queries


class PageQuerySchema(Fields):
    """Which part of a list of one kind."""

    owner = fields.String(validate=validate.Length(max=64))
    tags = Words()
    search = fields.String(validate=validate.Length(max=LONGEST_SEARCH))
    page = fields.Integer(load_default=1, validate=validate.Range(min=1, max=10_000))
    per_page = fields.Integer(load_default=20, validate=validate.Range(min=1, max=100))


class PassportQuerySchema(PageQuerySchema):
    """Which passports, in which order."""

    type = ManyWords(fields.String(validate=validate.OneOf(TYPES)))
    status = ManyWords(fields.String(validate=validate.OneOf(STATUSES)))
    tag_match = fields.String(load_default="all", validate=validate.OneOf(["all", "any"]))
    sort_by = fields.String(load_default="created_at", validate=validate.OneOf([str(name) for name in SortBy]))
    sort_order = fields.String(load_default="desc", validate=validate.OneOf(["asc", "desc"]))


class ModelQuerySchema(PageQuerySchema):
    """Which models. A page holds 100 unless told otherwise, since OpenAI's clients ask for no second one."""

    runtime = fields.String(validate=validate.Length(max=64))
    format = fields.String(validate=validate.Length(max=64))
    max_vram = fields.Integer(validate=validate.Range(min=0))
    available = fields.String(validate=validate.OneOf(["true", "false"]))
    per_page = fields.Integer(load_default=100, validate=validate.Range(min=1, max=100))


class ComputeQuerySchema(PageQuerySchema):
    """Which nodes."""

    regions = Words()
    runtimes = Words()
    provider_type = fields.String(validate=validate.Length(max=64))
    min_vram = fields.Integer(validate=validate.Range(min=0))
    gpu = fields.String(validate=validate.Length(max=128))
