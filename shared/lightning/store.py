"""Invoices and sweeps in SQL."""

from __future__ import annotations

from datetime import datetime

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.owner import Owner
from shared.lightning.model import Invoice, InvoiceState, Price, Purpose, Settlement, SweepReason, Terms

SQL = Queries.beside(__file__)


def insert(tx: Tx, owner: Owner, terms: Terms, *, preimage_salt: bytes, payment_hash: bytes) -> None:
    """Insert an open invoice; nothing where the owner has one for this purpose (of top-ups: an open one)."""
    price = terms.price
    tx.run(
        SQL["insert"],
        {
            **_owner(owner),
            "purpose": terms.purpose,
            "preimage_salt": preimage_salt,
            "payment_hash": payment_hash,
            "amount_msat": terms.amount_msat,
            "memo": terms.memo,
            "btc_price_usd": price.btc_usd if price else None,
            "price_source": price.source if price else None,
            "expiry_s": terms.expiry_s,
        },
    )


def of_owner(tx: Tx, owner: Owner) -> list[Invoice]:
    """Return the owner's invoices, oldest first."""
    return [_invoice(row) for row in tx.all(SQL["of_owner"], _owner(owner))]


def by_purpose(tx: Tx, owner: Owner, purpose: Purpose) -> Invoice | None:
    """Return the owner's newest invoice for `purpose`."""
    return _maybe(tx.one(SQL["by_purpose"], {**_owner(owner), "purpose": purpose}))


def by_hash(tx: Tx, payment_hash: bytes) -> Invoice | None:
    """Return the invoice with this payment hash."""
    return _maybe(tx.one(SQL["by_hash"], {"payment_hash": payment_hash}))


def by_id(tx: Tx, invoice_id: int) -> Invoice | None:
    """Return one invoice."""
    return _maybe(tx.one(SQL["by_id"], {"invoice_id": invoice_id}))


def opened(tx: Tx, invoice_id: int, payment_request: str, expires_at: datetime) -> bool:
    """Store the node's answer; False where the invoice is no longer open."""
    parameters = {"invoice_id": invoice_id, "payment_request": payment_request, "expires_at": expires_at}
    return tx.run(SQL["opened"], parameters) == 1


def settled(tx: Tx, invoice_id: int, settlement: Settlement) -> Invoice | None:
    """Record the settlement once; None where it was recorded before."""
    row = tx.one(
        SQL["settled"],
        {
            "invoice_id": invoice_id,
            "settled_at": settlement.settled_at,
            "paid_msat": settlement.paid_msat,
            "settle_index": settlement.settle_index,
        },
    )
    return _maybe(row)


def lapsed(tx: Tx, invoice_id: int) -> bool:
    """Move an open invoice to expired; False where it was not open."""
    return tx.one(SQL["lapsed"], {"invoice_id": invoice_id}) is not None


def cursor(tx: Tx) -> int:
    """Return the highest settle index that is stored."""
    row = tx.one(SQL["cursor"])
    return 0 if row is None else int(row["settle_index"])


def move_cursor(tx: Tx, settle_index: int) -> None:
    """Raise the stored settle index; it never goes back."""
    tx.run(SQL["move_cursor"], {"settle_index": settle_index})


def insert_sweep(tx: Tx, reason: SweepReason) -> int:
    """Insert a sweep and return its id."""
    row = tx.one(SQL["insert_sweep"], {"reason": reason})
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return int(row["id"])


def anything_due(tx: Tx) -> bool:
    """Tell whether any invoice is due for a look."""
    row = tx.one(SQL["anything_due"])
    return bool(row and row["due"])


def take_due(tx: Tx, sweep_id: int) -> int:
    """Assign up to 200 due invoices to the sweep; return how many."""
    return tx.run(SQL["take_due"], {"sweep_id": sweep_id})


def recall(tx: Tx, *, everything: bool) -> int:
    """Have invoices looked at now: those put off for longer than any wait of ours, or `everything`; return how many."""
    return tx.run(SQL["recall"], {"all": everything})


def claim_nudge(tx: Tx, owner: Owner) -> list[int]:
    """Take the owner's open invoices that nobody is looking at and nobody asked about within a second; return their ids."""
    return [row["id"] for row in tx.all(SQL["claim_nudge"], _owner(owner))]


def assign_to_sweep(tx: Tx, invoice_ids: list[int], sweep_id: int) -> None:
    """Assign these invoices to the sweep."""
    tx.run(SQL["assign_to_sweep"], {"ids": invoice_ids, "sweep_id": sweep_id})


def in_sweep(tx: Tx, sweep_id: int) -> list[Invoice]:
    """Return the invoices the sweep still has to look at."""
    return [_invoice(row) for row in tx.all(SQL["in_sweep"], {"sweep_id": sweep_id})]


def leave_sweep(tx: Tx, sweep_id: int) -> None:
    """Release what is left in the sweep."""
    tx.run(SQL["leave_sweep"], {"sweep_id": sweep_id})


def prune_sweeps(tx: Tx) -> int:
    """Delete old sweeps; return how many."""
    return tx.run(SQL["prune_sweeps"])


def _owner(owner: Owner) -> dict[str, object]:
    return {"kind": owner.kind, "id": owner.id}


def _maybe(row: Row | None) -> Invoice | None:
    return None if row is None else _invoice(row)


def _invoice(row: Row) -> Invoice:
    price = None if row["btc_price_usd"] is None else Price(row["btc_price_usd"], row["price_source"] or "")
    return Invoice(
        id=row["id"],
        owner=Owner(row["owner_kind"], row["owner_id"]),
        purpose=Purpose(row["purpose"]),
        state=InvoiceState(row["state"]),
        preimage_salt=row["preimage_salt"],
        payment_hash=row["payment_hash"],
        amount_msat=row["amount_msat"],
        memo=row["memo"],
        payment_request=row["payment_request"],
        price=price,
        expires_at=row["expires_at"],
        settled_at=row["settled_at"],
        paid_msat=row["paid_msat"],
        late=row["late"],
    )
