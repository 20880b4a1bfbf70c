"""Payouts in SQL."""

from __future__ import annotations

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.errors import TransitionConflict
from shared.kernel.owner import Owner
from shared.lightning.model import Payable, Payout, PayoutEnd, PayoutState

SQL = Queries.beside(__file__)


def insert(tx: Tx, owner: Owner, payable: Payable, *, fee_limit_msat: int) -> Payout | None:
    """Insert an intended payout; None where another row has this payment hash, or the owner another open payout."""
    parameters = {
        "kind": owner.kind,
        "id": owner.id,
        "payment_request": payable.payment_request,
        "payment_hash": payable.payment_hash,
        "amount_msat": payable.amount_msat,
        "fee_limit_msat": fee_limit_msat,
        "expires_at": payable.expires_at,
    }
    return _maybe(tx.one(SQL["insert_payout"], parameters))


def by_id(tx: Tx, payout_id: int) -> Payout | None:
    """Return one payout."""
    return _maybe(tx.one(SQL["payout"], {"payout_id": payout_id}))


def lock(tx: Tx, payout_id: int) -> Payout | None:
    """Return one payout and hold its row lock until the transaction ends."""
    return _maybe(tx.one(SQL["lock_payout"], {"payout_id": payout_id}))


def by_hash(tx: Tx, payment_hash: bytes) -> Payout | None:
    """Return the payout with this payment hash."""
    return _maybe(tx.one(SQL["payout_by_hash"], {"payment_hash": payment_hash}))


def of_owner(tx: Tx, owner: Owner) -> list[Payout]:
    """Return the owner's payouts, oldest first."""
    return [_payout(row) for row in tx.all(SQL["payouts_of_owner"], {"kind": owner.kind, "id": owner.id})]


def sending(tx: Tx, payout: Payout, *, to_state: PayoutState, fence: int, is_again: bool) -> None:
    """Record that the claim with this fence may be inside a send. Raises `TransitionConflict`."""
    parameters = {"to_state": to_state, "fence": fence, "is_again": is_again}
    _require_moved(payout, tx.run(SQL["payout_sending"], {**_from(payout), **parameters}))


def unknown(tx: Tx, payout: Payout, *, to_state: PayoutState, fence: int, seen: bool, review: bool) -> None:
    """Record what is known of a payout whose outcome is not. Raises `TransitionConflict`."""
    parameters = {"to_state": to_state, "fence": fence, "seen": seen, "review": review}
    _require_moved(payout, tx.run(SQL["payout_unknown"], {**_from(payout), **parameters}))


def ended(tx: Tx, payout: Payout, *, to_state: PayoutState, end: PayoutEnd) -> None:
    """Record the end. Raises `TransitionConflict`."""
    parameters = {"to_state": to_state, "preimage": end.preimage, "fee_msat": end.fee_msat, "fault": end.fault}
    _require_moved(payout, tx.run(SQL["payout_ended"], {**_from(payout), **parameters}))


def is_other_database(tx: Tx) -> bool:
    """Tell whether this is another database than the accepted one: restored, copied or promoted since."""
    return tx.one(SQL["accepted_database"]) is None


def accept_database(tx: Tx) -> None:
    """Accept this database as it is now."""
    tx.run(SQL["accept_database"])


def _from(payout: Payout) -> dict[str, object]:
    return {"payout_id": payout.id, "from_state": payout.state}


def _require_moved(payout: Payout, rows: int) -> None:
    if rows != 1:
        raise TransitionConflict(f"the payout is no longer {payout.state}")


def _maybe(row: Row | None) -> Payout | None:
    return None if row is None else _payout(row)


def _payout(row: Row) -> Payout:
    return Payout(
        id=row["id"],
        owner=Owner(row["owner_kind"], row["owner_id"]),
        state=PayoutState(row["state"]),
        payment_request=row["payment_request"],
        payment_hash=row["payment_hash"],
        amount_msat=row["amount_msat"],
        fee_limit_msat=row["fee_limit_msat"],
        expires_at=row["expires_at"],
        sender_fence=row["sender_fence"],
        orphaned=row["orphaned"],
        seen_in_flight=row["seen_in_flight"],
        needs_review=row["needs_review"],
        preimage=row["preimage"],
        fee_msat=row["fee_msat"],
        fault=row["fault"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
