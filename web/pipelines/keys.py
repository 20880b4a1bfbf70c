"""Keys that tenants make for themselves: one for whoever asks, more for whoever shows one. They open the pipelines and nothing else."""

from __future__ import annotations

from typing import Any

from flask import g, request

from shared.access.model import ApiKey, IssuedKey, Mode, Principal, Tier
from shared.access.plans import better
from shared.kernel.errors import Conflict, Forbidden, NotFound
from shared.verification.upstreams import NO_SIMULATION
from web import limits
from web.auth import ADMIN_HEADER, BEARER, REFUSALS, counted_address, principal
from web.context import container, request_id
from web.door import Answers, Guard, Operations
from web.idempotency import caller_address, tell_once
from web.limits import Quota
from web.pipelines.addresses import BASE
from web.pipelines.guards import OWNER
from web.pipelines.key_schemas import (
    NewKeyResponseSchema,
    OwnKeyListSchema,
    OwnKeyResponseSchema,
    SignUpRequestSchema,
)
from web.pipelines.moments import moment

PREFIX_LENGTH = 12
HOUR_S = 3600
OVERLAP_S = float(HOUR_S)
NO_SUCH = "there is no such key"

operations = Operations("Keys of your own", __name__, description="API keys, for whoever asks", url_prefix=BASE)


def _admit(**parameters: str) -> str:
    """Let anybody in; a key that is shown has to be good."""
    if "Authorization" in request.headers or ADMIN_HEADER in request.headers:
        return OWNER.admit(**parameters)
    g.principal = None
    return caller_address()


_ANYBODY = Guard(BEARER, _admit, is_optional=True, refusals=REFUSALS)


@operations.post(
    "/keys", "createKey", Answers(NewKeyResponseSchema, 201, (400, 500)), body=SignUpRequestSchema, guard=_ANYBODY
)
def create_key(body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Make an API key of the free tier for the pipelines

    Its text is in this answer and nowhere else. Without a key it is a new tenant's; with one, another of the same tenant. Limited by
    address. Other tiers are bought: `POST /api/v1/plans/{tier}/invoice`. 409 `no_test_mode` where the service runs no simulated model.
    """
    holder: Principal | None = g.principal
    mode = Mode(body["mode"])
    if body["tier"] != Tier.FREE:
        raise Forbidden("only free keys can be made here; POST /api/v1/plans/{tier}/invoice buys a plan")
    if mode not in container().verification_models:
        raise Conflict(NO_SIMULATION, code="no_test_mode")
    if holder is not None:
        _require_reach(holder, mode)
    limits.count_call(counted_address(), _sign_ups())
    issued = container().api_keys.sign_up(
        name=body["name"], email=body["email"], mode=mode, tenant=None if holder is None else holder.tenant
    )
    return _issued(issued), 201


@operations.get("/keys", "listKeys", Answers(OwnKeyListSchema), guard=OWNER)
def list_keys() -> dict[str, Any]:
    """List your tenant's keys, newest first; revoked ones too"""
    found = container().api_keys.listing(tenant=principal().tenant)
    return {"request_id": request_id(), "keys": [_shown(key) for key in found]}


@operations.post(
    "/keys/<key_id>/rotate", "rotateKey", Answers(NewKeyResponseSchema, 201, errors=(404, 500)), guard=OWNER
)
def rotate_key(key_id: str) -> tuple[dict[str, Any], int]:
    """Make a key that takes another one's place, which is refused an hour later

    So a lost answer locks nobody out: the former key still makes another. Revoke it where it must end at once.
    """
    _own(key_id)
    return _issued(container().api_keys.rotate(key_id, overlap_s=OVERLAP_S)), 201


@operations.change(
    "DELETE", "/keys/<key_id>", "revokeKey", Answers(OwnKeyResponseSchema, errors=(404, 500)), guard=OWNER
)
def revoke_key(key_id: str) -> dict[str, Any]:
    """Revoke a key of yours: it is refused from then on. Harmless to repeat"""
    _own(key_id)
    return {"request_id": request_id(), **_shown(container().api_keys.revoke(key_id))}


def _own(key_id: str) -> None:
    """Refuse a key of another tenant, and one that opens more than the one that is shown."""
    key, holder = container().api_keys.get(key_id), principal()
    if key.tenant != holder.tenant:
        raise NotFound(NO_SUCH)
    _require_reach(holder, key.mode)
    if not key.scopes <= holder.scopes:
        raise Forbidden("that key opens more than this one")
    if better(holder.tier, key.tier) is not holder.tier:
        raise Forbidden("that key is of a higher tier than this one")


def _require_reach(holder: Principal, mode: Mode) -> None:
    """Keep test keys to test keys: one that could make a live one would be a live one."""
    if holder.mode is Mode.TEST and mode is Mode.LIVE:
        raise Forbidden("a test key administers test keys only")


def _sign_ups() -> Quota:
    """Return how many keys an address may make an hour. Raises `Forbidden` where the operator makes them all."""
    allowed = container().settings.signups_per_address_hour
    if allowed == 0:
        raise Forbidden("this service's operator makes the keys")
    return Quota("signup", allowed, f"{allowed} keys an hour can be made from one address", HOUR_S)


def _issued(issued: IssuedKey) -> dict[str, Any]:
    tell_once("key")
    return {"request_id": request_id(), "key": issued.text, **_shown(issued.record)}


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "key_prefix": key.hint[:PREFIX_LENGTH],
        "name": key.label,
        "tier": str(key.tier),
        "mode": str(key.mode),
        "email": key.email,
        "created_at": moment(key.created_at),
        "last_used_at": moment(key.last_used_at),
        "revoked_at": moment(key.revoked_at),
        "rotated_from": key.rotated_from,
    }
