"""Rows of the books, and the words for their states (lnd's own)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class InvoiceState(StrEnum):
    """The states an ordinary invoice passes through; only SETTLED is money."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"
    CANCELED = "CANCELED"


class PaymentStatus(IntEnum):
    """lnrpc.Payment.PaymentStatus, with the value that the compiled stubs do not know yet."""

    IN_FLIGHT = 1
    SUCCEEDED = 2
    FAILED = 3
    INITIATED = 4

    @property
    def is_final(self) -> bool:
        """True when no later status can follow."""
        return self in (PaymentStatus.SUCCEEDED, PaymentStatus.FAILED)


class FailureReason(IntEnum):
    """lnrpc.PaymentFailureReason, with the value that the compiled stubs do not know yet."""

    NONE = 0
    TIMEOUT = 1
    NO_ROUTE = 2
    ERROR = 3
    INCORRECT_PAYMENT_DETAILS = 4
    INSUFFICIENT_BALANCE = 5
    CANCELED = 6


@dataclass(frozen=True)
class Invoice:
    """An invoice of one node. Indexes count from 1; 0 means not yet. Times are Unix seconds."""

    node: str
    payment_hash: bytes
    preimage: bytes
    payment_addr: bytes
    payment_request: str
    memo: str
    description_hash: bytes
    value_msat: int
    created_at: int
    expiry_s: int
    cltv_expiry: int
    is_private: int
    state: str
    add_index: int
    settle_index: int
    settled_at: int
    amt_paid_msat: int

    @property
    def is_settled(self) -> bool:
        """True once the money is there."""
        return self.state == InvoiceState.SETTLED

    @classmethod
    def of(cls, row: sqlite3.Row) -> Invoice:
        """Return the row as an invoice."""
        return cls(**dict(row))


@dataclass(frozen=True)
class Payment:
    """An outgoing payment of one node. `held_msat` is locked while it is in flight; `_ns` are Unix nanoseconds."""

    node: str
    payment_hash: bytes
    payment_index: int
    payment_request: str
    payee: str
    value_msat: int
    fee_msat: int
    held_msat: int
    status: PaymentStatus
    failure_reason: FailureReason
    preimage: bytes
    created_ns: int
    resolved_ns: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> Payment:
        """Return the row as a payment."""
        values = dict(row)
        values["status"] = PaymentStatus(values["status"])
        values["failure_reason"] = FailureReason(values["failure_reason"])
        return cls(**values)
