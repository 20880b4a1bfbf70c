"""Splits in SQL. A row is written once; the table's trigger refuses anything else."""

from __future__ import annotations

from shared.db.model import Queries
from shared.db.service import Tx
from shared.splits.model import Split

SQL = Queries.beside(__file__)


def insert(tx: Tx, split: Split, *, tenant: str, asked: bytes) -> bool:
    """Insert a run's split; False where the tenant has one for this run."""
    parameters = {"tenant": tenant, "run_id": split.run_id, "asked_hash": asked}
    return tx.run(SQL["insert"], {**parameters, "record": split.record, "payout_hash": split.payout_hash}) == 1


def find(tx: Tx, *, tenant: str, run_id: str) -> tuple[Split, bytes] | None:
    """Return the tenant's split of a run, and the hash of what was asked for."""
    row = tx.one(SQL["find"], {"tenant": tenant, "run_id": run_id})
    if row is None:
        return None
    return Split(row["run_id"], bytes(row["record"]), bytes(row["payout_hash"])), bytes(row["asked_hash"])
