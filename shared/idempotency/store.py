"""Idempotency keys in SQL."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.idempotency.model import Answer, Claim, KeyRef
from shared.kernel.owner import Owner

SQL = Queries.beside(__file__)


def claim(
    tx: Tx, ref: KeyRef, *, fingerprint: bytes, now: datetime, born_before: datetime, abandoned_before: datetime
) -> Claim | None:
    """Take a key that is new or out of date, or this request's own unanswered one.

    The latter at once where it names what was made, else only if it was claimed by `abandoned_before`.
    """
    times = {"now": now, "born_before": born_before, "abandoned_before": abandoned_before}
    row = tx.one(SQL["claim"], {**_key(ref), "fingerprint": fingerprint, **times})
    return None if row is None else Claim(ref, row["created_at"], made=_owner(row))


def find(tx: Tx, ref: KeyRef) -> tuple[bytes, Answer | None] | None:
    """Return the fingerprint under a key, and its answer where there is one."""
    row = tx.one(SQL["find"], _key(ref))
    if row is None:
        return None
    return bytes(row["fingerprint"]), None if row["status"] is None else Answer(row["status"], row["body"])


def name_owner(tx: Tx, held: Claim, owner: Owner) -> bool:
    """Have the key name what is made under it; False where the claim was taken over."""
    return tx.run(SQL["name_owner"], {**_held(held), "owner_kind": owner.kind, "owner_id": owner.id}) == 1


def answer(tx: Tx, held: Claim, given: Answer) -> Owner | None:
    """Keep the answer and return what the key names; nothing happens where the claim was taken over."""
    row = tx.one(SQL["answer"], {**_held(held), "status": given.status, "body": Jsonb(given.body)})
    return None if row is None else _owner(row)


def release(tx: Tx, held: Claim) -> Owner | None:
    """Free the key; where something was made under it, it stays and that is returned. Nothing happens where the claim was taken over."""
    row = tx.one(SQL["release"], _held(held))
    return None if row is None else _owner(row)


def prune(tx: Tx, *, born_before: datetime) -> int:
    """Delete keys out of date; return how many."""
    return tx.run(SQL["prune"], {"born_before": born_before})


def _key(ref: KeyRef) -> dict[str, object]:
    return {"scope": ref.scope, "key": ref.key}


def _held(held: Claim) -> dict[str, object]:
    return {**_key(held.ref), "claimed_at": held.claimed_at}


def _owner(row: Row) -> Owner | None:
    return None if row["owner_id"] is None else Owner(row["owner_kind"], row["owner_id"])
