"""Invoices: asked for, settled once, or lapsed. A settlement seen after the lapse is still money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from shared.kernel.owner import Owner


class InvoiceState(StrEnum):
    """Where an invoice is."""

    OPEN = "open"
    SETTLED = "settled"
    EXPIRED = "expired"


class InvoiceEvent(StrEnum):
    """What happens to an invoice."""

    PAID = "settled"
    LAPSED = "lapsed"
    PAID_LATE = "settled late"


INVOICE_TRANSITIONS = {
    (InvoiceState.OPEN, InvoiceEvent.PAID): InvoiceState.SETTLED,
    (InvoiceState.OPEN, InvoiceEvent.LAPSED): InvoiceState.EXPIRED,
    (InvoiceState.EXPIRED, InvoiceEvent.PAID_LATE): InvoiceState.SETTLED,
}


class Purpose(StrEnum):
    """What an invoice buys."""

    EVAL = "eval"
    WORK = "work"


class SweepReason(StrEnum):
    """Why invoices are being polled."""

    TICK = "tick"
    NUDGE = "nudge"


@dataclass(frozen=True)
class Price:
    """A bitcoin price locked on an invoice. `source` names the feeds it came from."""

    btc_usd: Decimal
    source: str


@dataclass(frozen=True)
class Invoice:
    """One invoice row. `payment_request` is None until the node has answered."""

    id: int
    owner: Owner
    purpose: Purpose
    state: InvoiceState
    preimage_salt: bytes
    payment_hash: bytes
    amount_msat: int
    memo: str
    payment_request: str | None
    price: Price | None
    expires_at: datetime
    settled_at: datetime | None
    paid_msat: int | None
    late: bool


@dataclass(frozen=True)
class Opened:
    """The node's answer: an invoice that can be paid until `expires_at`."""

    invoice: Invoice
    payment_request: str
    expires_at: datetime


@dataclass(frozen=True)
class Terms:
    """What a new invoice says. `memo` at most 639 bytes (BOLT11), `expiry_s` seconds."""

    purpose: Purpose
    amount_msat: int
    memo: str
    expiry_s: int
    price: Price | None = None


@dataclass(frozen=True)
class Settlement:
    """What the node says of a settled invoice. `settle_index` is the node's own running number."""

    payment_hash: bytes
    paid_msat: int
    settled_at: datetime
    settle_index: int


class NodeInvoiceState(StrEnum):
    """lnrpc.Invoice.InvoiceState. Only SETTLED is money."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"
    ACCEPTED = "ACCEPTED"


class CancelOutcome(StrEnum):
    """What a cancellation came to."""

    CANCELED = "CANCELED"
    ALREADY_SETTLED = "ALREADY_SETTLED"
    UNKNOWN_INVOICE = "UNKNOWN_INVOICE"


@dataclass(frozen=True)
class NodeInvoice:
    """An invoice as the node has it. `settle_index` is 0 and `settled_at` None until it is settled."""

    payment_hash: bytes
    payment_request: str
    state: NodeInvoiceState
    value_msat: int
    amt_paid_msat: int
    add_index: int
    settle_index: int
    settled_at: datetime | None


class Node(Protocol):
    """What the invoice desk asks of a Lightning node. `clients/lnd.py` is the one that speaks to lnd."""

    def add_invoice(self, *, preimage: bytes, amount_msat: int, memo: str, expiry_s: int) -> str:
        """Make the invoice of this preimage, or find it made; return its payment request."""
        ...

    def lookup_invoice(self, payment_hash: bytes) -> NodeInvoice | None:
        """Return the invoice, None where the node has none of this hash."""
        ...

    def cancel_invoice(self, payment_hash: bytes) -> CancelOutcome:
        """Make sure that nobody can pay any more."""
        ...
