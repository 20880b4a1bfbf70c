"""Double-entry bookkeeping in millisatoshi: accounts, lines, debts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.kernel.owner import Owner


class Account(StrEnum):
    """Where money can be. Assets grow with positive amounts, liabilities and revenue with negative ones."""

    NODE = "node"  # asset: what our Lightning node received, less what it paid
    CUSTOMER = "customer"  # liability to one owner: received and not yet earned or owed back
    DEBTS_PAYABLE = "debts_payable"  # liability to one owner: owed back
    REVENUE_EVAL = "revenue_eval"
    REVENUE_WORK = "revenue_work"
    REVENUE_PLANS = "revenue_plans"
    ROUTING_FEES = "routing_fees"
    SUSPENSE = "suspense"  # money whose owner is unknown until somebody looks


class DebtReason(StrEnum):
    """Why money is owed back."""

    OVERPAID = "overpaid"
    UNDERPAID = "underpaid"
    LATE = "late"
    EVALUATION_FAILED = "evaluation_failed"
    WORK_FAILED = "work_failed"
    UNUSED = "unused"
    NOT_PRICED = "not_priced"
    UNSPENT = "unspent"  # what an ended session had left
    REST = "rest"  # below a whole sat: what a payout could not carry


class DebtState(StrEnum):
    """Whether a debt is still owed."""

    OPEN = "open"
    PAID = "paid"


class ReservationState(StrEnum):
    """Whether a reservation still holds its amount."""

    OPEN = "open"
    SETTLED = "settled"
    RELEASED = "released"


@dataclass(frozen=True)
class Line:
    """One posting of an entry. `owner` is needed for liabilities to somebody."""

    account: Account
    amount_msat: int
    owner: Owner | None = None


@dataclass(frozen=True)
class Debt:
    """Money owed to an owner."""

    id: int
    owner: Owner
    reason: DebtReason
    amount_msat: int
    state: DebtState
    payout_id: int | None = None
    """The payout that pays it, or tries to."""
