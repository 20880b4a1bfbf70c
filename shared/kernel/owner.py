"""Whose a row is: the one name that work, events, ledger, invoices and receipts share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Owner:
    """A kind (`job`, `sweep`, …) and an internal row id. Never a public id: those are keys to money."""

    kind: str
    id: int
