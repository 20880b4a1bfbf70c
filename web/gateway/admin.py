"""The operator's addresses: API keys of all tenants. With a key of the scope `admin`, or the admin key."""

from __future__ import annotations

from typing import Any

from shared.access.keys import shown
from shared.access.model import IssuedKey, Mode, Scope, Tier
from shared.kernel.errors import Forbidden
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations
from web.gateway import key_schemas as schemas
from web.idempotency import tell_once

operations = Operations("Keys", __name__, description="API keys, for administrators")

_ADMIN = caller(Scope.ADMIN, anonymous=False)


@operations.post(
    "/v1/admin/keys",
    "lucid_create_api_key",
    Answers(schemas.IssuedKeyResponseSchema, 201, (400, 500, 503)),
    body=schemas.CreateKeyRequestSchema,
    guard=_ADMIN,
)
def create_key(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Make an API key

    Its text is in this answer and nowhere else. Defaults: tier free, scopes inference and verification, a new tenant.
    """
    mode = Mode(body["mode"])
    _require_reach(mode)
    issued = container().api_keys.create(
        mode=mode,
        tier=Tier(body["tier"]),
        scopes={Scope(scope) for scope in body["scopes"]},
        label=body["label"],
        tenant=body.get("tenant"),
    )
    return _issued(issued), 201


@operations.get(
    "/v1/admin/keys",
    "lucid_list_api_keys",
    Answers(schemas.KeyListResponseSchema, errors=(500, 503)),
    query=schemas.ListKeysQuerySchema,
    guard=_ADMIN,
)
def list_keys(query: dict[str, Any]) -> dict[str, Any]:
    """List API keys, newest first, of one tenant or of all; revoked ones too"""
    found = container().api_keys.listing(tenant=query.get("tenant"))
    return {"success": True, "keys": [shown(key) for key in found]}


@operations.post(
    "/v1/admin/keys/<key_id>/rotate",
    "lucid_rotate_api_key",
    Answers(schemas.IssuedKeyResponseSchema, 201, (404, 500, 503)),
    guard=_ADMIN,
)
def rotate_key(key_id: str) -> tuple[dict[str, Any], int]:
    """Make a key that takes another one's place

    Same tenant, mode, tier, scopes and label. The former key is refused from the same moment on.
    """
    _require_reach(container().api_keys.get(key_id).mode)
    return _issued(container().api_keys.rotate(key_id)), 201


@operations.change(
    "DELETE",
    "/v1/admin/keys/<key_id>",
    "lucid_revoke_api_key",
    Answers(schemas.KeyResponseSchema, errors=(404, 500, 503)),
    guard=_ADMIN,
)
def revoke_key(key_id: str) -> dict[str, Any]:
    """Revoke an API key: it is refused from then on. Harmless to repeat"""
    _require_reach(container().api_keys.get(key_id).mode)
    return {"success": True, **shown(container().api_keys.revoke(key_id))}


def _require_reach(mode: Mode) -> None:
    """Keep test keys to test keys: one that could make a live one would be a live one."""
    if principal().mode is Mode.TEST and mode is Mode.LIVE:
        raise Forbidden("a test key administers test keys only")


def _issued(issued: IssuedKey) -> dict[str, Any]:
    tell_once("key")
    return {"success": True, "key": issued.text, **shown(issued.record)}
