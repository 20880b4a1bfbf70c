"""Passports: the names of models, nodes, tools, datasets and agents. A caller sees his own and the operator's, and changes his own."""

from __future__ import annotations

from typing import Any

from flask import request

from shared.access.model import Scope
from shared.catalog.model import Change, Draft, Filters, Page, PassportStatus, PassportType, SortBy, Viewer
from shared.kernel.errors import Unprocessable
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations, View
from web.gateway import passport_schemas as schemas
from web.gateway.passport_views import page_shown, passport_shown
from web.idempotency import key_claim

operations = Operations("Passports", __name__, description="What there is to run, by names of its own")

READER = caller(Scope.INFERENCE, anonymous=True)
WRITER = caller(Scope.INFERENCE, anonymous=False)
OWNER_HEADER = "X-Owner-Address"
OWNER_PARAMETER = {
    "in": "header",
    "name": OWNER_HEADER,
    "required": False,
    "schema": {"type": "string"},
    "description": "Whose passport it is follows from the API key. Where this is sent, it must be the passport's owner besides.",
}


def _owned(view: View) -> View:
    """Have the served document tell of the contract's header."""
    described: View = operations.doc(parameters=[OWNER_PARAMETER])(view)
    return described


def viewer() -> Viewer:
    """Return who looks, by the present request's credential."""
    found = principal()
    return Viewer(found.tenant, found.mode)


@operations.post(
    "/v1/passports",
    "lucid_create_passport",
    Answers(schemas.CreatePassportResponseSchema, 201, (400, 422, 500, 503)),
    body=schemas.CreatePassportRequestSchema,
    guard=WRITER,
)
def create_passport(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Create a passport

    Its metadata must have the shape of its type, and names itself (`model_passport_id` and the like) by any ten characters, which the
    id replaces.
    """
    if body["type"] not in schemas.TYPES:
        raise Unprocessable(f"type must be one of {', '.join(schemas.TYPES)}", field="type")
    tags = tuple(body.pop("tags", ()))
    draft = Draft(**{**body, "type": PassportType(body["type"]), "tags": tags})
    made = container().passports.create(viewer(), draft, claim=key_claim())
    shown = {"success": True, "passport_id": made.passport_id, "passport": passport_shown(made)}
    return shown, 201, {"Location": f"/v1/passports/{made.passport_id}"}


@operations.get(
    "/v1/passports",
    "lucid_list_passports",
    Answers(schemas.ListPassportsResponseSchema, errors=(500, 503)),
    query=schemas.PassportQuerySchema,
    guard=READER,
)
def list_passports(query: dict[str, Any]) -> dict[str, Any]:
    """List passports of any status: your own and the operator's"""
    filters = Filters(
        types=tuple(PassportType(name) for name in query.get("type", ())),
        statuses=tuple(PassportStatus(name) for name in query.get("status", ())),
        owner=query.get("owner"),
        tags=tuple(query.get("tags", ())),
        any_tag=query["tag_match"] == "any",
        search=query.get("search"),
    )
    is_descending = query["sort_order"] == "desc"
    page = Page(query["page"], query["per_page"], SortBy(query["sort_by"]), is_descending)
    return page_shown("passports", container().catalog.page(viewer(), filters, page), page)


@operations.get(
    "/v1/passports/stats",
    "lucid_get_passport_stats",
    Answers(schemas.PassportStatsResponseSchema, errors=(500, 503)),
    guard=READER,
)
def get_stats() -> dict[str, Any]:
    """Count your passports and the operator's"""
    counts = container().catalog.counts(viewer())
    stats = {
        "total": counts.total,
        "by_type": {str(type_): counts.by_type.get(type_, 0) for type_ in PassportType},
        "by_status": {str(status): counts.by_status.get(status, 0) for status in PassportStatus},
    }
    return {"success": True, "stats": stats}


@operations.get(
    "/v1/passports/<passport_id>",
    "lucid_get_passport",
    Answers(schemas.GetPassportResponseSchema, errors=(404, 500, 503)),
    guard=READER,
)
def get_passport(passport_id: str) -> dict[str, Any]:
    """Get a passport, revoked ones too"""
    return {"success": True, "passport": passport_shown(container().catalog.get(viewer(), passport_id))}


@operations.change(
    "PATCH",
    "/v1/passports/<passport_id>",
    "lucid_update_passport",
    Answers(schemas.GetPassportResponseSchema, errors=(400, 404, 409, 422, 500, 503)),
    body=schemas.UpdatePassportRequestSchema,
    guard=WRITER,
)
@_owned
def update_passport(body: dict[str, Any], passport_id: str) -> dict[str, Any]:
    """Update a passport of yours

    Metadata is replaced as a whole. `status` deprecates, restores or revokes; revoked is final.
    """
    tags = tuple(body.pop("tags")) if "tags" in body else None
    status = PassportStatus(body.pop("status")) if "status" in body else None
    change = Change(**body, tags=tags, status=status)
    changed = container().passports.change(viewer(), passport_id, change, stated_owner=_stated_owner())
    return {"success": True, "passport": passport_shown(changed)}


@operations.change(
    "DELETE",
    "/v1/passports/<passport_id>",
    "lucid_delete_passport",
    Answers(schemas.DeletedSchema, errors=(404, 500, 503)),
    guard=WRITER,
)
@_owned
def delete_passport(passport_id: str) -> dict[str, Any]:
    """Revoke a passport of yours for good; it can still be read"""
    container().passports.revoke(viewer(), passport_id, stated_owner=_stated_owner())
    return {"success": True, "deleted": True}


@operations.change(
    "PATCH",
    "/v1/passports/<passport_id>/pricing",
    "lucid_update_passport_pricing",
    Answers(schemas.GetPassportResponseSchema, errors=(400, 404, 409, 500, 503)),
    body=schemas.UpdatePassportPricingRequestSchema,
    guard=WRITER,
)
@_owned
def update_pricing(body: dict[str, Any], passport_id: str) -> dict[str, Any]:
    """Set what a passport of yours costs, beside its metadata"""
    changed = container().passports.set_pricing(viewer(), passport_id, body, stated_owner=_stated_owner())
    return {"success": True, "passport": passport_shown(changed)}


@operations.change(
    "PATCH",
    "/v1/passports/<passport_id>/endpoints",
    "lucid_update_passport_endpoints",
    Answers(schemas.GetPassportResponseSchema, errors=(400, 404, 409, 500, 503)),
    body=schemas.UpdatePassportEndpointsRequestSchema,
    guard=WRITER,
)
@_owned
def update_endpoints(body: dict[str, Any], passport_id: str) -> dict[str, Any]:
    """Set where a passport of yours is served; this outranks its metadata"""
    changed = container().passports.set_endpoints(viewer(), passport_id, body, stated_owner=_stated_owner())
    return {"success": True, "passport": passport_shown(changed)}


# -- by kind: active ones, newest first


@operations.get(
    "/v1/tools",
    "lucid_list_tools",
    Answers(schemas.ListToolsResponseSchema, errors=(500, 503)),
    query=schemas.PageQuerySchema,
    guard=READER,
)
def list_tools(query: dict[str, Any]) -> dict[str, Any]:
    """List active tools"""
    return _of_kind("tools", PassportType.TOOL, query)


@operations.get(
    "/v1/datasets",
    "lucid_list_datasets",
    Answers(schemas.ListDatasetsResponseSchema, errors=(500, 503)),
    query=schemas.PageQuerySchema,
    guard=READER,
)
def list_datasets(query: dict[str, Any]) -> dict[str, Any]:
    """List active datasets"""
    return _of_kind("datasets", PassportType.DATASET, query)


@operations.get(
    "/v1/agents",
    "lucid_list_agent_passports",
    Answers(schemas.ListAgentsResponseSchema, errors=(500, 503)),
    query=schemas.PageQuerySchema,
    guard=READER,
)
def list_agents(query: dict[str, Any]) -> dict[str, Any]:
    """List active agents"""
    return _of_kind("agents", PassportType.AGENT, query)


def filters_of_kind(type: PassportType, query: dict[str, Any], **more: Any) -> Filters:  # noqa: A002 - the API's word
    """Return the filters of a list of one kind: active ones only."""
    return Filters(
        types=(type,),
        statuses=(PassportStatus.ACTIVE,),
        owner=query.get("owner"),
        tags=tuple(query.get("tags", ())),
        search=query.get("search"),
        **more,
    )


def _of_kind(name: str, type: PassportType, query: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    page = Page(query["page"], query["per_page"])
    return page_shown(name, container().catalog.page(viewer(), filters_of_kind(type, query), page), page)


def _stated_owner() -> str | None:
    return request.headers.get(OWNER_HEADER)
