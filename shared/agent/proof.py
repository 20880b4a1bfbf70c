"""What a macaroon is worth: the payment that it is bound to, proved where it came as L402, and settled in our own books."""

from __future__ import annotations

from shared.access.model import Grant
from shared.access.tokens import proves_payment
from shared.db.service import Tx
from shared.kernel.errors import Unauthorized
from shared.lightning.model import Invoice, InvoiceState, Purpose
from shared.lightning.service import Invoices

NOT_PAID = "payment_not_settled"


def invoice_of(tx: Tx, invoices: Invoices, grant: Grant, preimage: bytes | None) -> Invoice:
    """Return the invoice that the macaroon is bound to, paid or not. Raises `Unauthorized` for a preimage of another payment."""
    invoice = invoices.by_hash(tx, grant.payment_hash)
    if invoice is None or not (preimage is None or proves_payment(preimage, grant.payment_hash)):
        raise Unauthorized("the preimage does not belong to the macaroon's invoice")
    return invoice


def require_paid(tx: Tx, invoices: Invoices, grant: Grant, preimage: bytes | None) -> None:
    """Let through a Bearer macaroon (no `preimage`) or an L402 credential whose payment is settled. Raises `Unauthorized`.

    A preimage proves that somebody paid, and we could make it ourselves: the money has to be in our books as well. A Bearer
    macaroon of an unpaid deposit passes, for its session says what it waits for; one of an unpaid top-up does not. One that L402
    handed out in a challenge, before anybody had paid, is good only with its preimage.
    """
    if grant.needs_preimage and preimage is None:
        raise Unauthorized(
            "this macaroon needs its payment's preimage: Authorization: L402 <macaroon>:<preimage in hex>"
        )
    invoice = invoice_of(tx, invoices, grant, preimage)
    may_wait = preimage is None and invoice.purpose is Purpose.DEPOSIT
    if invoice.state is not InvoiceState.SETTLED and not may_wait:
        raise Unauthorized("the macaroon's invoice is not paid", code=NOT_PAID)
