"""API keys, generations of root keys, quotas and paid plans in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.access.model import ApiKey, Mode, PaidPlan, Scope, Tier
from shared.db.model import Queries
from shared.db.service import Row, Tx

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class Used:
    """What a tenant has used in a month: units of each pipeline, and tokens."""

    forward: int = 0
    reverse: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


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
    email: str | None,
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
            "email": email,
        },
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _key(row)


def valid_key(tx: Tx, *, key_hash: bytes) -> tuple[ApiKey, list[Tier], bool] | None:
    """Return the key of this hash unless it was revoked, what its tenant has paid for by now, and whether its last use is told late.

    Late is more than a minute.
    """
    row = tx.one(SQL["valid_key"], {"key_hash": key_hash})
    return None if row is None else (_key(row), [Tier(tier) for tier in row["paid_tiers"]], bool(row["is_stale"]))


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
    """End a key at once and for good. The first time counts."""
    tx.run(SQL["revoke_key"], {"id": row_id})


def end_key(tx: Tx, *, row_id: int, after_s: float) -> None:
    """Plan a key's end. The earliest counts."""
    tx.run(SQL["end_key"], {"id": row_id, "after_s": after_s})


def serialize_tenant(tx: Tx, *, tenant: str) -> None:
    """Let one transaction at a time count what this tenant has."""
    tx.all(SQL["serialize_tenant"], {"tenant": tenant})


def valid_keys_of(tx: Tx, *, tenant: str) -> tuple[int, int]:
    """Return how many keys of the tenant are valid, and how many of those are to end."""
    row = tx.one(SQL["valid_keys_of"], {"tenant": tenant})
    return (0, 0) if row is None else (int(row["valid"]), int(row["ending"]))


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
        revoked_at=row["revoked_at"] or row["ends_at"],
        email=row["email"],
    )


def take_unit(tx: Tx, *, tenant: str, mode: Mode, period: str, pipeline: str, limit: int) -> tuple[int, int] | None:
    """Take one unit of `limit`, in one statement; return its id and how many are used now. None where none is left."""
    row = tx.one(
        SQL["take_unit"],
        {"tenant": tenant, "mode": mode, "period": period, "pipeline": pipeline, "limit": limit},
    )
    return None if row is None else (row["id"], row["used"])


def give_back_unit(tx: Tx, *, unit: int) -> bool:
    """Give a unit back to its month; False where it was given back before."""
    return tx.run(SQL["give_back_unit"], {"unit": unit}) == 1


def add_tokens(tx: Tx, *, unit: int, tokens_in: int, tokens_out: int) -> None:
    """Add tokens to the month of a unit."""
    tx.run(SQL["add_tokens"], {"unit": unit, "tokens_in": tokens_in, "tokens_out": tokens_out})


def quota(tx: Tx, *, tenant: str, mode: Mode, period: str) -> Used:
    """Return what was used; nothing where no unit was taken."""
    row = tx.one(SQL["quota"], {"tenant": tenant, "mode": mode, "period": period})
    return Used() if row is None else Used(row["forward"], row["reverse"], row["tokens_in"], row["tokens_out"])


def grant(tx: Tx, *, tenant: str, tier: Tier, lesser: Sequence[Tier], purchase_id: int, hours: int) -> PaidPlan:
    """Give a tenant a tier for `hours` after what it has as good already; the `lesser` ones wait. One at a time for each tenant."""
    tx.all(SQL["serialize_tenant"], {"tenant": tenant})
    row = tx.one(
        SQL["grant"],
        {"tenant": tenant, "tier": tier, "lesser": list(lesser), "purchase_id": purchase_id, "hours": hours},
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return PaidPlan(Tier(row["tier"]), row["starts_at"], row["ends_at"])


def grant_of(tx: Tx, *, purchase_id: int) -> PaidPlan | None:
    """Return what a purchase bought."""
    row = tx.one(SQL["grant_of"], {"purchase_id": purchase_id})
    return None if row is None else PaidPlan(Tier(row["tier"]), row["starts_at"], row["ends_at"])


def paid_plans(tx: Tx, *, tenant: str) -> list[PaidPlan]:
    """Return what a tenant has paid for and not used up, by tier: from the first start to the last end."""
    rows = tx.all(SQL["paid_plans"], {"tenant": tenant})
    return [PaidPlan(Tier(row["tier"]), row["starts_at"], row["ends_at"]) for row in rows]
