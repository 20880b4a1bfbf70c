"""Purchases in SQL."""

from __future__ import annotations

from decimal import Decimal

from shared.access.model import Tier
from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.errors import TransitionConflict
from shared.plans.model import Purchase, PurchaseState

SQL = Queries.beside(__file__)


def insert(tx: Tx, *, public_id: str, tenant: str, api_key_id: int | None, tier: Tier, price_usd: Decimal) -> Purchase:
    """Insert a purchase that awaits its payment."""
    row = tx.one(
        SQL["insert"],
        {"public_id": public_id, "tenant": tenant, "api_key_id": api_key_id, "tier": tier, "price_usd": price_usd},
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _purchase(row)


def purchase(tx: Tx, purchase_id: int) -> Purchase | None:
    """Return one purchase."""
    return _maybe(tx.one(SQL["purchase"], {"id": purchase_id}))


def by_public_id(tx: Tx, public_id: str) -> Purchase | None:
    """Return the purchase with this public id."""
    return _maybe(tx.one(SQL["by_public_id"], {"public_id": public_id}))


def purchases_of(tx: Tx, tenant: str, *, before: int | None, most: int) -> list[Purchase]:
    """Return up to `most` purchases of a tenant, newest first, older than row `before`."""
    rows = tx.all(SQL["purchases_of"], {"tenant": tenant, "before": before, "most": most})
    return [_purchase(row) for row in rows]


def lock(tx: Tx, purchase_id: int) -> Purchase | None:
    """Return one purchase and hold its row lock until the transaction ends."""
    return _maybe(tx.one(SQL["lock"], {"id": purchase_id}))


def move(tx: Tx, purchase_id: int, *, from_state: PurchaseState, to_state: PurchaseState) -> None:
    """Move by compare-and-set. Raises `TransitionConflict`."""
    parameters = {
        "id": purchase_id,
        "from_state": from_state,
        "to_state": to_state,
        "pays": to_state is PurchaseState.PAID,
    }
    if tx.run(SQL["move"], parameters) != 1:
        raise TransitionConflict(f"the purchase is no longer {from_state}")


def unpaid_of(tx: Tx, tenant: str) -> int:
    """Return how many purchases of the tenant await their payment. One transaction at a time, until it ends."""
    tx.all(SQL["serialize"], {"tenant": tenant})
    row = tx.one(SQL["unpaid_of"], {"tenant": tenant})
    return 0 if row is None else int(row["unpaid"])


def _maybe(row: Row | None) -> Purchase | None:
    return None if row is None else _purchase(row)


def _purchase(row: Row) -> Purchase:
    return Purchase(
        id=row["id"],
        public_id=row["public_id"],
        state=PurchaseState(row["state"]),
        tenant=row["tenant"],
        tier=Tier(row["tier"]),
        price_usd=row["price_usd"],
        created_at=row["created_at"],
        paid_at=row["paid_at"],
    )
