"""Doorbells of invoices that have a life of their own, and of invoice polling."""

from __future__ import annotations

from workers.app import app, container


@app.task(name="invoice.open")
def open_invoice(invoice_id: int) -> None:
    """Ring: create a session's invoice."""
    container().openings.open(invoice_id)


@app.task(name="invoice.withdraw")
def withdraw_invoice(invoice_id: int) -> None:
    """Ring: make an abandoned invoice unpayable."""
    container().polling.withdraw(invoice_id)


@app.task(name="sweep.find_due")
def find_due(sweep_id: int) -> None:
    """Ring: gather the invoices that are due for a look."""
    container().invoices.find_due(sweep_id)


@app.task(name="sweep.settle")
def settle(sweep_id: int) -> None:
    """Ring: ask the node about them and credit what is settled."""
    container().polling.settle(sweep_id)


@app.task(name="sweep.advance")
def advance(sweep_id: int) -> None:
    """Ring: end what lapsed, let the owners go on."""
    container().polling.advance(sweep_id)
