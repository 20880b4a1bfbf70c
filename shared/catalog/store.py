"""Passports, heartbeats and faults in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from shared.catalog.model import (
    HEARTBEAT_LIFE_S,
    HISTORY_S,
    Draft,
    Filters,
    Found,
    Heartbeat,
    NodeFaults,
    NodeStatus,
    Page,
    Passport,
    PassportStatus,
    PassportType,
    Pulse,
    Viewer,
)
from shared.db.model import Queries
from shared.db.service import Row, Tx

SQL = Queries.beside(__file__)
_LIKE = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as candidates need it: its metadata still text, since who has read it before need not read it again."""

    passport_id: str
    updated_at: datetime
    tenant: str
    simulated: bool
    metadata: str
    inference_url: str | None
    pulse: Pulse | None
    is_fresh: bool


# -- reading


def by_id(tx: Tx, viewer: Viewer, passport_id: str) -> Passport | None:
    """Return the passport if the viewer sees it."""
    return _maybe(tx.one(SQL["by_id"], {"passport_id": passport_id, **_sight(viewer)}))


def by_row(tx: Tx, row_id: int) -> Passport | None:
    """Return the passport of this row."""
    return _maybe(tx.one(SQL["by_row"], {"id": row_id}))


def lock(tx: Tx, row_id: int) -> Passport:
    """Return the passport of this row, locked until the transaction ends."""
    row = tx.one(SQL["lock"], {"id": row_id})
    assert row is not None  # noqa: S101 - rows of passports are never deleted
    return _passport(row)


def model_by_id(tx: Tx, viewer: Viewer, reference: str) -> Passport | None:
    """Return the active model with this id."""
    return _maybe(tx.one(SQL["model_by_id"], {"reference": reference, **_sight(viewer)}))


def model_by_name(tx: Tx, viewer: Viewer, reference: str) -> Passport | None:
    """Return the active model of this name: the viewer's own before the operator's, the oldest of several."""
    return _maybe(tx.one(SQL["model_by_name"], {"reference": reference, **_sight(viewer)}))


def candidates(tx: Tx, viewer: Viewer, *, named: str | None, limit: int) -> list[NodeRow]:
    """Return active nodes with their newest heartbeat, whatever it says."""
    asked = {"named": named, "limit": limit, "life_s": HEARTBEAT_LIFE_S, **_sight(viewer)}
    return [
        NodeRow(
            passport_id=row["passport_id"],
            updated_at=row["updated_at"],
            tenant=row["tenant"],
            simulated=row["simulated"],
            metadata=row["metadata"],
            inference_url=row["inference_url"],
            pulse=_pulse(row) if row["status"] is not None else None,
            is_fresh=bool(row["is_fresh"]),
        )
        for row in tx.all(SQL["candidates"], asked)
    ]


def page(tx: Tx, viewer: Viewer, filters: Filters, page: Page) -> Found:
    """Return the page's passports and the true total, both of one moment."""
    plain = {item.name: getattr(filters, item.name) for item in fields(filters)}
    asked = {name: list(value) or None if isinstance(value, tuple) else value for name, value in plain.items()}
    order = {"sort_by": page.sort_by, "descending": page.descending}
    part = {"limit": page.size, "offset": (page.number - 1) * page.size, "life_s": HEARTBEAT_LIFE_S}
    like = {"search": _containing(filters.search), "gpu": _containing(filters.gpu)}
    rows = tx.all(SQL["page"], {**asked, **like, **order, **part, **_sight(viewer)})
    return Found(tuple(_passport(row) for row in rows if row["id"] is not None), int(rows[0]["total"]))


def counts(tx: Tx, viewer: Viewer) -> list[tuple[PassportType, PassportStatus, int]]:
    """Return how many passports of each type and status the viewer sees."""
    rows = tx.all(SQL["counts"], _sight(viewer))
    return [(PassportType(row["type"]), PassportStatus(row["status"]), int(row["passports"])) for row in rows]


def configured(tx: Tx) -> list[Passport]:
    """Return every passport that was made from the settings, of whatever status."""
    return [_passport(row) for row in tx.all(SQL["configured"])]


# -- writing


def insert(
    tx: Tx,
    draft: Draft,
    *,
    passport_id: str,
    tenant: str,
    metadata_hash: bytes,
    simulated: bool = False,
    configured: bool = False,
) -> Passport:
    """Insert a passport."""
    row = tx.one(
        SQL["insert"],
        {
            "passport_id": passport_id,
            "type": draft.type,
            "tenant": tenant,
            "owner": draft.owner,
            "name": draft.name,
            "description": draft.description,
            "version": draft.version,
            "tags": list(draft.tags),
            "metadata": Jsonb(draft.metadata),
            "metadata_hash": metadata_hash,
            "simulated": simulated,
            "configured": configured,
        },
    )
    assert row is not None  # noqa: S101 - an INSERT returns its row or raises
    return _passport(row)


def update(tx: Tx, passport: Passport) -> Passport:
    """Store what may change of a passport, all but its status."""
    row = tx.one(
        SQL["update"],
        {
            "id": passport.id,
            "owner": passport.owner,
            "name": passport.name,
            "description": passport.description,
            "version": passport.version,
            "tags": list(passport.tags),
            "metadata": Jsonb(passport.metadata),
            "metadata_hash": passport.metadata_hash,
            "pricing": _maybe_json(passport.pricing),
            "endpoints": _maybe_json(passport.endpoints),
        },
    )
    assert row is not None  # noqa: S101 - rows of passports are never deleted
    return _passport(row)


def move(tx: Tx, passport: Passport, to_status: PassportStatus) -> Passport | None:
    """Move by compare-and-set; None where it had another status by now."""
    asked = {"id": passport.id, "from_status": passport.status, "to_status": to_status}
    return _maybe(tx.one(SQL["move"], asked))


def become_registrar(tx: Tx) -> None:
    """Wait until no other transaction registers upstreams."""
    tx.one(SQL["become_registrar"])


# -- nodes


def beat(tx: Tx, passport_id: str, pulse: Pulse) -> Heartbeat:
    """Store a pulse as the node's newest and in its history, stamped by the database."""
    row = tx.one(
        SQL["beat"],
        {
            "passport_id": passport_id,
            "status": pulse.status,
            "queue_depth": pulse.queue_depth,
            "price": pulse.price,
            "p95": pulse.p95,
        },
    )
    assert row is not None  # noqa: S101 - the statement returns what it stores
    return _heartbeat(row)


def heard(tx: Tx, passport_id: str) -> Heartbeat | None:
    """Return the node's newest heartbeat."""
    row = tx.one(SQL["heard"], {"passport_id": passport_id, "life_s": HEARTBEAT_LIFE_S})
    return None if row is None else _heartbeat(row)


def pulses(tx: Tx, viewer: Viewer, passport_ids: Sequence[str]) -> list[Heartbeat]:
    """Return the newest heartbeat of each of these nodes that is active and that the viewer sees."""
    asked = {"passport_ids": list(passport_ids), "life_s": HEARTBEAT_LIFE_S, **_sight(viewer)}
    return [_heartbeat(row) for row in tx.all(SQL["pulses"], asked)]


def heartbeat_history(tx: Tx, passport_id: str, *, limit: int) -> list[Heartbeat]:
    """Return the node's heartbeats of the last hour, newest first."""
    asked = {"passport_id": passport_id, "limit": limit, "life_s": HEARTBEAT_LIFE_S, "history_s": HISTORY_S}
    return [_heartbeat(row) for row in tx.all(SQL["heartbeat_history"], asked)]


def prune_history(tx: Tx) -> int:
    """Delete heartbeats older than an hour; the newest of each node stays elsewhere."""
    return tx.run(SQL["prune_history"], {"history_s": HISTORY_S})


def fault_met(tx: Tx, passport_id: str, code: str) -> None:
    """Count a fault met at a node; nothing for an id that is no passport's."""
    tx.run(SQL["fault_met"], {"passport_id": passport_id, "code": code})


def answer_met(tx: Tx, passport_id: str) -> None:
    """End the node's row of faults, if it has one."""
    tx.run(SQL["answer_met"], {"passport_id": passport_id})


def faults(tx: Tx, passport_id: str) -> NodeFaults | None:
    """Return what was met at a node."""
    row = tx.one(SQL["faults"], {"passport_id": passport_id})
    return None if row is None else NodeFaults(row["in_a_row"], row["in_all"], row["code"], row["at"])


def recent_latency(tx: Tx, passport_id: str, *, age_s: float) -> tuple[int | None, int]:
    """Return the 95th percentile in milliseconds of the node's complete runs of the last `age_s` seconds, and how many these are."""
    row = tx.one(SQL["recent_latency"], {"passport_id": passport_id, "age_s": age_s})
    return (None, 0) if row is None else (row["p95"], int(row["runs"]))


# -- rows


def _sight(viewer: Viewer) -> dict[str, Any]:
    return {"tenant": viewer.tenant, "simulated": viewer.is_test}


def _containing(text: str | None) -> str | None:
    """Return the pattern of ILIKE for texts that contain `text`, read literally."""
    return None if text is None else f"%{text.translate(_LIKE)}%"


def _maybe_json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _maybe(row: Row | None) -> Passport | None:
    return None if row is None else _passport(row)


def _passport(row: Row) -> Passport:
    return Passport(
        id=row["id"],
        passport_id=row["passport_id"],
        type=PassportType(row["type"]),
        status=PassportStatus(row["status"]),
        tenant=row["tenant"],
        owner=row["owner"],
        name=row["name"],
        description=row["description"],
        version=row["version"],
        tags=tuple(row["tags"]),
        metadata=row["metadata"],
        metadata_hash=bytes(row["metadata_hash"]),
        pricing=row["pricing"],
        endpoints=row["endpoints"],
        simulated=row["simulated"],
        configured=row["configured"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        resolves=bool(row.get("resolves", False)),
    )


def _pulse(row: Row) -> Pulse:
    price: Decimal | None = row["price_per_1k_usd"]
    return Pulse(NodeStatus(row["status"]), row["queue_depth"], price, row["p95_ms"])


def _heartbeat(row: Row) -> Heartbeat:
    return Heartbeat(row["passport_id"], _pulse(row), row["seen_at"], bool(row["is_fresh"]))
