"""Generations of root keys in SQL."""

from __future__ import annotations

from shared.db.model import Queries
from shared.db.service import Tx

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
