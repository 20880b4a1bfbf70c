"""Doorbells of plans that are bought."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="plan.open_invoice")
def open_invoice(purchase_id: int) -> None:
    """Ring: create the invoice of a purchase."""
    container().plan_invoices.open(purchase_id)
