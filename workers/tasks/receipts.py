"""Doorbells of the log."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="log.integrate")
def integrate(_row_id: int) -> None:
    """Ring: integrate the receipts that wait."""
    container().log.integrate()


@app.task(name="anchor.submit")
def submit(anchor_id: int) -> None:
    """Ring: have a checkpoint vouched for."""
    container().anchoring.submit(anchor_id)
