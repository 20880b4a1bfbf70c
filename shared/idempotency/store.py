"""Idempotency keys in SQL."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb

from shared.db.model import Queries
from shared.db.service import Tx
from shared.idempotency.model import Answer, Claim, KeyRef

SQL = Queries.beside(__file__)


def claim(
    tx: Tx, ref: KeyRef, *, fingerprint: bytes, now: datetime, born_before: datetime, abandoned_before: datetime
) -> Claim | None:
    """Take a key that is new, out of date, or unanswered since `abandoned_before` with the same fingerprint."""
    times = {"now": now, "born_before": born_before, "abandoned_before": abandoned_before}
    row = tx.one(SQL["claim"], {**_key(ref), "fingerprint": fingerprint, **times})
    return None if row is None else Claim(ref, row["created_at"])


def find(tx: Tx, ref: KeyRef) -> tuple[bytes, Answer | None] | None:
    """Return the fingerprint under a key, and its answer where there is one."""
    row = tx.one(SQL["find"], _key(ref))
    if row is None:
        return None
    return bytes(row["fingerprint"]), None if row["status"] is None else Answer(row["status"], row["body"])


def answer(tx: Tx, held: Claim, given: Answer) -> bool:
    """Keep the answer; False where the claim was taken over."""
    parameters = {**_key(held.ref), "claimed_at": held.claimed_at, "status": given.status, "body": Jsonb(given.body)}
    return tx.run(SQL["answer"], parameters) == 1


def release(tx: Tx, held: Claim) -> bool:
    """Free the key; False where the claim was taken over."""
    return tx.run(SQL["release"], {**_key(held.ref), "claimed_at": held.claimed_at}) == 1


def prune(tx: Tx, *, born_before: datetime) -> int:
    """Delete keys out of date; return how many."""
    return tx.run(SQL["prune"], {"born_before": born_before})


def _key(ref: KeyRef) -> dict[str, object]:
    return {"scope": ref.scope, "key": ref.key}
