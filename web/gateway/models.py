"""Models: one list that the contract's clients and OpenAI's can both read, and one model as the latter ask for it."""

from __future__ import annotations

from typing import Any

from shared.catalog.model import Page, PassportType
from web.auth import REFUSALS, principal
from web.context import container
from web.door import Answers
from web.gateway import passport_schemas as schemas
from web.gateway.chat_schemas import OpenAiErrorResponseSchema
from web.gateway.passport_views import openai_model, page_shown
from web.gateway.passports import READER, filters_of_kind, operations, viewer

_REFUSALS = (*REFUSALS, 404, 500, 503)
"""Of the address that is not in the contract: OpenAI's clients ask there, and know their own errors."""


@operations.get(
    "/v1/models",
    "lucid_search_models",
    Answers(schemas.ListModelsResponseSchema, errors=(500, 503)),
    query=schemas.ModelQuerySchema,
    guard=READER,
)
def search_models(query: dict[str, Any]) -> dict[str, Any]:
    """List active models, for the contract's clients and for OpenAI's

    `available=true`: a healthy node serves it now, or it is an API that no node of ours stands for. `data[].id` is what to send as
    `model`.
    """
    available = query.get("available")
    filters = filters_of_kind(
        PassportType.MODEL,
        query,
        runtime=query.get("runtime"),
        format=query.get("format"),
        max_vram=query.get("max_vram"),
        available=None if available is None else available == "true",
    )
    page = Page(query["page"], query["per_page"])
    found = container().catalog.page(viewer(), filters, page)
    listed = {"object": "list", "data": [openai_model(passport) for passport in found.passports]}
    return {**page_shown("models", found, page), **listed}


@operations.get(
    "/v1/models/<path:model>",
    "lucid_get_model",
    Answers(schemas.OpenAIModelSchema, errors=(), also=dict.fromkeys(_REFUSALS, OpenAiErrorResponseSchema)),
    guard=READER,
)
def get_model(model: str) -> dict[str, Any]:
    """Get a model by its name or passport id, as OpenAI's clients do"""
    found = principal()
    passport = container().catalog.model(tenant=found.tenant, mode=found.mode, reference=model)
    return openai_model(passport, sent_as=model)
