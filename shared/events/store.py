"""Event streams in SQL."""

from __future__ import annotations

import json
from typing import Any

from config.logging import correlation_id
from shared.db.model import Queries
from shared.db.service import Tx
from shared.events.model import Event
from shared.kernel.owner import Owner

SQL = Queries.beside(__file__)


def append(
    tx: Tx, owner: Owner, name: str, *, moved: tuple[str, str] | None = None, body: dict[str, Any] | None = None
) -> int:
    """Append one event and return its number. The caller holds the owner's row lock."""
    from_state, to_state = moved or (None, None)
    row = tx.one(
        SQL["append"],
        {
            "kind": owner.kind,
            "id": owner.id,
            "name": name,
            "from_state": from_state,
            "to_state": to_state,
            "body": json.dumps(body or {}),
            "cid": correlation_id(),
        },
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return int(row["seq"])


def prune(tx: Tx, kind: str, *, age_s: float) -> None:
    """Delete the events of one kind of owner that are older than `age_s` seconds."""
    tx.run(SQL["prune"], {"kind": kind, "age_s": age_s})


def replay(tx: Tx, owner: Owner, *, after: int = 0) -> list[Event]:
    """Return the owner's events after number `after`, in order."""
    rows = tx.all(SQL["replay"], {"kind": owner.kind, "id": owner.id, "after": after})
    return [
        Event(owner, row["seq"], row["name"], row["from_state"], row["to_state"], row["body"], row["at"])
        for row in rows
    ]
