"""Passports and nodes as the gateway's contract shows them."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.catalog.model import HEARTBEAT_LIFE_S, Found, Heartbeat, NodeFaults, Page, Passport
from web.gateway.views import present

PRICE = "price_per_request"


def passport_shown(passport: Passport) -> dict[str, Any]:
    """Return the contract's Passport."""
    shown = {
        "passport_id": passport.passport_id,
        "type": str(passport.type),
        "owner": passport.owner,
        "name": passport.name or None,
        "description": passport.description or None,
        "version": passport.version or None,
        "tags": list(passport.tags),
        "status": str(passport.status),
        "metadata": dict(passport.metadata),
        "metadata_hash": passport.metadata_hash.hex(),
        "created_at": _ms(passport.created_at),
        "updated_at": _ms(passport.updated_at),
        "on_chain": None,
        "simulated": passport.is_made_up,
    }
    beside = {"pricing": _pricing(passport), "endpoints": dict(passport.endpoints) if passport.endpoints else None}
    return {**shown, **present(beside)}


def page_shown(name: str, found: Found, page: Page) -> dict[str, Any]:
    """Return a page under the member that its operation calls it by."""
    pages = {
        "total": found.total,
        "page": page.number,
        "per_page": page.size,
        "total_pages": -(-found.total // page.size),
    }
    return {"success": True, name: [passport_shown(passport) for passport in found.passports], "pagination": pages}


def openai_model(passport: Passport, *, sent_as: str | None = None) -> dict[str, Any]:
    """Return a model as OpenAI's clients read it: by its name where that leads to it, else by its id."""
    return {
        "id": sent_as or (passport.name if passport.resolves else passport.passport_id),
        "object": "model",
        "created": int(passport.created_at.timestamp()),
        "owned_by": str(passport.metadata.get("provider") or passport.owner),
        "passport_id": passport.passport_id,
    }


def heartbeat_shown(heard: Heartbeat) -> dict[str, Any]:
    """Return a heartbeat in the words of the contract's ComputeHeartbeat, with when it came."""
    shown = {
        "compute_passport_id": heard.passport_id,
        "status": str(heard.pulse.status),
        "queue_depth": heard.pulse.queue_depth,
        "price_per_1k_tokens_estimate": heard.pulse.price,
        "p95_ms_estimate": heard.pulse.p95,
        "last_heartbeat": _ms(heard.seen_at),
    }
    return present(shown)


def state_shown(heard: Heartbeat, faults: NodeFaults | None = None) -> dict[str, Any]:
    """Return a node's state: its newest heartbeat, until when it counts, and what was met there since it last answered."""
    shown = {**heartbeat_shown(heard), "expires_at": _ms(heard.seen_at + timedelta(seconds=HEARTBEAT_LIFE_S))}
    if faults is None or not faults.in_a_row:
        return shown
    return {**shown, "faults": {"in_a_row": faults.in_a_row, "last": faults.code, "at": _ms(faults.at)}}


def _pricing(passport: Passport) -> dict[str, Any] | None:
    if passport.pricing is None:
        return None
    price = passport.pricing.get(PRICE)
    return {**passport.pricing, **({PRICE: Decimal(price)} if price is not None else {})}


def _ms(at: datetime) -> int:
    """Return Unix milliseconds."""
    return int(at.timestamp() * 1000)
