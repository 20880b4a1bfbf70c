"""Doorbells of money out."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="payout.send")
def send(payout_id: int) -> None:
    """Ring: pay, or find out what became of a payment."""
    container().disbursement.send(payout_id)
