"""What can go wrong with a Lightning node, and how a gRPC status becomes one of these.

LucidError
└── LightningError
    ├── NodeUnavailable   (Unavailable) no answer, and nothing depends on the one that is missing: ask again
    ├── NodeRefused       the node said no and did nothing: credential, field, permission
    │   └── PaymentNotSent   a payment was refused before anything was recorded
    │       └── InvoiceExpired   by the node's own clock its invoice has expired
    ├── OutcomeUnknown    the call may or may not have taken effect: find out before doing anything else
    └── InvoiceMismatch   (Conflict) the node has an invoice of this hash, but not the one that was asked for
"""

from __future__ import annotations

from typing import Any

import grpc

from shared.kernel.errors import LucidError, Unavailable

# lnd sends most errors as UNKNOWN; these texts are its own, from its rpcserver, macaroons and invoices packages.
ALREADY_EXISTS = "invoice with payment hash already exists"
ALREADY_SETTLED = "invoice already settled"
ALREADY_CANCELED = "invoice already canceled"
NO_SUCH_INVOICE = ("unable to locate invoice", "there are no existing invoices")
_CREDENTIAL = (
    "permission denied",
    "expected 1 macaroon",
    "verification failed",
    "cannot get macaroon",
    "root key with id",
)
_NOT_UP_YET = ("wallet locked", "is still in the process of starting", "waiting to start", "wallet not found")
_BAD_FIELD = (
    "memo too large",
    "description hash is",
    "of negative value",
    "mutually exclusive",
    "greater than max expiry",
    "cltv delta",
    "preimage length",
    "hash length",
    "must be exactly 32 bytes",
)

_NO_ANSWER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)


class LightningError(LucidError):
    """A call to the node did not do what it was for."""

    code = "lightning_error"


class NodeUnavailable(LightningError, Unavailable):
    """The node does not answer."""

    code = "node_unavailable"


class NodeRefused(LightningError):
    """The node understood and declined; nothing has happened."""

    code = "node_refused"


class PaymentNotSent(NodeRefused):
    """The node refused a payment before it recorded anything: nothing was sent, and nothing will be."""

    code = "payment_not_sent"


class InvoiceExpired(PaymentNotSent):
    """The node refused a payment because by its own clock the invoice has expired: it refuses every later one too."""

    code = "invoice_expired_at_node"


class OutcomeUnknown(LightningError):
    """Nobody knows whether the call took effect."""

    code = "outcome_unknown"


def details_of(error: grpc.RpcError) -> str:
    """Return the node's own text."""
    call: Any = error
    return str(call.details() or "")


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status of a failed call."""
    call: Any = error
    code: grpc.StatusCode = call.code()
    return code


def says(error: grpc.RpcError, *texts: str) -> bool:
    """True when the node's text contains one of `texts`, whatever the status."""
    details = details_of(error).lower()
    return any(text in details for text in texts)


def is_unknown_invoice(error: grpc.RpcError) -> bool:
    """True when the node says that it has no such invoice; CancelInvoice says so as UNKNOWN."""
    return code_of(error) is grpc.StatusCode.NOT_FOUND or says(error, *NO_SUCH_INVOICE)


def fault_of(error: grpc.RpcError, *, doing: str) -> LightningError:
    """Return what a failed call means. `doing` names the call. Everything unrecognised is `OutcomeUnknown`."""
    code, details = code_of(error), details_of(error)
    message = f"{doing}: {code.name}: {details}"
    if code in _NO_ANSWER or says(error, *_NOT_UP_YET):
        return NodeUnavailable(message)
    if code in _REFUSALS or says(error, *_CREDENTIAL, *_BAD_FIELD):
        return NodeRefused(message)
    return OutcomeUnknown(message)
