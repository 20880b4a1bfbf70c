"""API keys and generations of root keys in SQL."""

from __future__ import annotations

from collections.abc import Iterable

from shared.access.model import ApiKey, Mode, Scope, Tier
from shared.db.model import Queries
from shared.db.service import Row, Tx

SQL = Queries.beside(__file__)


def salts(tx: Tx) -> list[bytes]:
    """Return the salts of the generations that are valid, newest first."""
    return [bytes(row["salt"]) for row in tx.all(SQL["generations"])]


def serialize(tx: Tx) -> None:
    """Let only one transaction at a time begin a generation."""
    tx.all(SQL["serialize"])


def is_due(tx: Tx, *, days: int) -> bool:
    """Tell whether the newest generation is older than `days`, or missing."""
    row = tx.one(SQL["is_due"], {"days": days})
    return bool(row and row["due"])


def insert(tx: Tx, *, salt: bytes) -> None:
    """Begin a generation."""
    tx.run(SQL["insert"], {"salt": salt})


def retire(tx: Tx) -> None:
    """Retire every generation but the newest two."""
    tx.run(SQL["retire"])


def insert_key(
    tx: Tx,
    *,
    key_id: str,
    key_hash: bytes,
    hint: str,
    label: str,
    tenant: str,
    mode: Mode,
    tier: Tier,
    scopes: Iterable[Scope],
    rotated_from: int | None,
) -> ApiKey:
    """Store a new key. `key_hash`: SHA-256 of its text, `rotated_from`: the row of the key whose place it takes."""
    row = tx.one(
        SQL["insert_key"],
        {
            "key_id": key_id,
            "key_hash": key_hash,
            "hint": hint,
            "label": label,
            "tenant": tenant,
            "mode": mode,
            "tier": tier,
            "scopes": sorted(scopes),
            "rotated_from": rotated_from,
        },
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _key(row)


def valid_key(tx: Tx, *, key_hash: bytes) -> tuple[ApiKey, bool] | None:
    """Return the key of this hash unless it was revoked, and whether its last use is told more than a minute late."""
    row = tx.one(SQL["valid_key"], {"key_hash": key_hash})
    return None if row is None else (_key(row), bool(row["is_stale"]))


def note_use(tx: Tx, *, row_id: int) -> None:
    """Note that a key is in use, unless somebody else is about to. Neither waits for a lock nor for the disk."""
    tx.all(SQL["do_not_wait_for_disk"])
    tx.run(SQL["note_use"], {"id": row_id})


def lock_key(tx: Tx, *, key_id: str) -> ApiKey | None:
    """Return a key and keep others from changing it until the transaction ends."""
    row = tx.one(SQL["lock_key"], {"key_id": key_id})
    return None if row is None else _key(row)


def find_key(tx: Tx, *, key_id: str) -> ApiKey | None:
    """Return a key."""
    row = tx.one(SQL["find_key"], {"key_id": key_id})
    return None if row is None else _key(row)


def revoke_key(tx: Tx, *, row_id: int) -> None:
    """Revoke a key from this moment on; one that is revoked keeps its time."""
    tx.run(SQL["revoke_key"], {"id": row_id})


def keys(tx: Tx, *, tenant: str | None, most: int) -> list[ApiKey]:
    """Return the keys of `tenant`, or of all of them, newest first."""
    return [_key(row) for row in tx.all(SQL["keys"], {"tenant": tenant, "most": most})]


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        key_id=row["key_id"],
        hint=row["hint"],
        label=row["label"],
        tenant=row["tenant"],
        mode=Mode(row["mode"]),
        tier=Tier(row["tier"]),
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        rotated_from=row["rotated_from_id"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
