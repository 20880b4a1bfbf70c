"""Epochs of projects in SQL: views of one tenant's receipts."""

from __future__ import annotations

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.receipts import store
from shared.receipts.model import Epoch, EpochStatus, EpochView

SQL = Queries.beside(__file__)


def open_project_epoch(tx: Tx, *, tenant: str, project: str, epoch_id: str) -> None:
    """Open the project's next epoch where its last one ended; nothing where one is open."""
    tx.run(SQL["open_project_epoch"], {"tenant": tenant, "project": project, "epoch_id": epoch_id})


def lock_project_epoch(tx: Tx, row_id: int) -> Epoch | None:
    """Return a project's epoch, locked, if it is open."""
    row = tx.one(SQL["lock_project_epoch"], {"id": row_id})
    return None if row is None else store.epoch_of(row)


def close_project_epoch(tx: Tx, row_id: int, *, end_size: int, root: bytes, receipts: int) -> bool:
    """Close by compare-and-set; False where it was closed before."""
    parameters = {"id": row_id, "end_size": end_size, "root": root, "receipts": receipts}
    return tx.run(SQL["close_project_epoch"], parameters) == 1


def project_receipts(tx: Tx, row_id: int, *, end_size: int) -> int:
    """Return how many receipts of its project an epoch would hold if it ended at `end_size`."""
    return _count(tx.one(SQL["project_receipts"], {"id": row_id, "end_size": end_size}), "receipts")


def project_epochs(
    tx: Tx, *, tenant: str, project: str | None, status: EpochStatus | None, limit: int, offset: int
) -> list[EpochView]:
    """Return a tenant's epochs, of one project or of all, newest first."""
    page = {"limit": limit, "offset": offset}
    rows = tx.all(SQL["project_epochs"], {"tenant": tenant, "project": project, "status": status, **page})
    return store.views(tx, rows)


def project_epoch_count(tx: Tx, *, tenant: str, project: str | None, status: EpochStatus | None) -> int:
    """Return how many epochs a tenant has, of one project or of all, of this status or in all."""
    return _count(tx.one(SQL["project_epoch_count"], {"tenant": tenant, "project": project, "status": status}), "total")


def project_epoch_by_id(tx: Tx, epoch_id: str) -> tuple[int, str, EpochView] | None:
    """Return one project's epoch, with its row id and its tenant."""
    return _owned(tx, tx.one(SQL["project_epoch_by_id"], {"epoch_id": epoch_id}))


def project_epoch_by_row(tx: Tx, row_id: int) -> tuple[int, str, EpochView] | None:
    """Return the project's epoch of this row id, as `project_epoch_by_id` does."""
    return _owned(tx, tx.one(SQL["project_epoch_by_row"], {"id": row_id}))


def newest_project_epoch(tx: Tx, *, tenant: str, project: str) -> tuple[int, str, EpochView] | None:
    """Return a project's newest epoch, as `project_epoch_by_id` does."""
    return _owned(tx, tx.one(SQL["newest_project_epoch"], {"tenant": tenant, "project": project}))


def _owned(tx: Tx, row: Row | None) -> tuple[int, str, EpochView] | None:
    return None if row is None else (row["id"], row["tenant"], store.views(tx, [row])[0])


def _count(row: Row | None, column: str) -> int:
    return 0 if row is None else int(row[column])
