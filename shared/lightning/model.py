"""Invoices: asked for, settled once, or lapsed. A settlement seen after the lapse is still money."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from shared.kernel.owner import Owner

INVOICE = "invoice"


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
    DEPOSIT = "deposit"
    TOPUP = "topup"
    PLAN = "plan"


class InvoiceStep(StrEnum):
    """The steps of an invoice: made by itself where its owner has several (top-ups), withdrawn whoever its owner is."""

    OPEN = "open"
    WITHDRAW = "withdraw"


class PayoutState(StrEnum):
    """Where a payout is. Only the node's own answer about its payment hash ends `unknown`."""

    INTENDED = "intended"
    SENDING = "sending"
    UNKNOWN = "unknown"
    PAID = "paid"
    FAILED = "failed"


class PayoutEvent(StrEnum):
    """What happens to a payout."""

    SENT = "handed to the node"
    NO_ANSWER = "outcome unknown"
    SENT_AGAIN = "the same handed to the node again"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused before it was sent"


PAYOUT_TRANSITIONS = {
    (PayoutState.INTENDED, PayoutEvent.SENT): PayoutState.SENDING,
    (PayoutState.INTENDED, PayoutEvent.REFUSED): PayoutState.FAILED,
    (PayoutState.SENDING, PayoutEvent.NO_ANSWER): PayoutState.UNKNOWN,
    (PayoutState.SENDING, PayoutEvent.SENT_AGAIN): PayoutState.SENDING,
    (PayoutState.SENDING, PayoutEvent.SUCCEEDED): PayoutState.PAID,
    (PayoutState.SENDING, PayoutEvent.FAILED): PayoutState.FAILED,
    (PayoutState.UNKNOWN, PayoutEvent.SENT_AGAIN): PayoutState.SENDING,
    (PayoutState.UNKNOWN, PayoutEvent.SUCCEEDED): PayoutState.PAID,
    (PayoutState.UNKNOWN, PayoutEvent.FAILED): PayoutState.FAILED,
}


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


@dataclass(frozen=True)
class Payable:
    """A caller's payment request after every check that needs no node. `amount_msat` is whole sats."""

    payment_request: str
    payment_hash: bytes
    amount_msat: int
    payee: str
    expires_at: datetime


@dataclass(frozen=True)
class Payout:
    """One payout row. `fee_msat` is what routing cost us; `needs_review` means that an operator has to look at the node."""

    id: int
    owner: Owner
    state: PayoutState
    payment_request: str
    payment_hash: bytes
    amount_msat: int
    fee_limit_msat: int
    expires_at: datetime
    sender_fence: int | None
    orphaned: bool
    seen_in_flight: bool
    needs_review: bool
    preimage: bytes | None
    fee_msat: int | None
    fault: str | None
    created_at: datetime
    ended_at: datetime | None


class NodePaymentState(StrEnum):
    """lnrpc.Payment.PaymentStatus. Whatever we do not know counts as in flight; FAILED counts only once no HTLC is in flight."""

    IN_FLIGHT = "IN_FLIGHT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class NodePayment:
    """A payment as the node has it. `preimage` and `fee_msat` mean something once it has succeeded."""

    payment_hash: bytes
    state: NodePaymentState
    amount_msat: int
    fee_msat: int
    preimage: bytes | None
    failure: str
    created_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Decoded:
    """A payment request as the node itself reads it. `is_own`: our own node would be paid. `amount_msat` 0 names none."""

    payment_hash: bytes
    amount_msat: int
    is_own: bool


@dataclass(frozen=True)
class PayoutEnd:
    """How a payout ends. `fault` says why it did not pay; `preimage` and `fee_msat` belong to one that did."""

    event: PayoutEvent
    fault: str | None = None
    preimage: bytes | None = None
    fee_msat: int | None = None


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


class Payer(Protocol):
    """What a payout asks of a Lightning node. `clients/lnd_payments.py` is the one that speaks to lnd, and says what is raised."""

    def decode_payment_request(self, payment_request: str) -> Decoded | None:
        """Return what the node reads in it; None where it cannot."""
        ...

    def send_payment(
        self, payment_request: str, *, fee_limit_msat: int, timeout_s: int, deadline_s: float, stop: threading.Event
    ) -> NodePayment | None:
        """Have the node pay; return the last that it said, None where it had this payment hash before."""
        ...

    def track_payment(self, payment_hash: bytes) -> NodePayment | None:
        """Return the payment as it stands; None where the node never had it."""
        ...
