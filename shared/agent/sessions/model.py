"""Sessions: a deposit, the requests that live on it, and what is left at the end. Nothing is ever forfeited."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.kernel.errors import DeadlinePassed
from shared.kernel.owner import Owner
from shared.lightning.model import Payout

SESSION = "session"
REQUEST = "request"

LEAST_SATS = 100
MOST_SATS = 10_000
"""The bounds of a deposit and of a top-up, as the contract has them."""


class SessionState(StrEnum):
    """Where a session is: the states of the paid-agent contract, no others."""

    AWAITING_PAYMENT = "awaiting_payment"
    ACTIVE = "active"
    PAUSED = "paused"
    EXPIRED = "expired"


class SessionEvent(StrEnum):
    """What happens to a session."""

    DEPOSITED = "deposit paid"
    DEPOSIT_LAPSED = "deposit expired"
    ABANDONED = "abandoned"
    DEPOSITED_LATE = "deposit paid late"
    RAN_LOW = "ran low"
    TOPPED_UP = "topped up"
    IDLED = "idle"
    CLOSED = "closed"


SESSION_TRANSITIONS = {
    (SessionState.AWAITING_PAYMENT, SessionEvent.DEPOSITED): SessionState.ACTIVE,
    (SessionState.AWAITING_PAYMENT, SessionEvent.DEPOSIT_LAPSED): SessionState.EXPIRED,
    (SessionState.AWAITING_PAYMENT, SessionEvent.ABANDONED): SessionState.EXPIRED,
    (SessionState.EXPIRED, SessionEvent.DEPOSITED_LATE): SessionState.ACTIVE,
    (SessionState.ACTIVE, SessionEvent.RAN_LOW): SessionState.PAUSED,
    (SessionState.PAUSED, SessionEvent.TOPPED_UP): SessionState.ACTIVE,
    (SessionState.ACTIVE, SessionEvent.IDLED): SessionState.EXPIRED,
    (SessionState.PAUSED, SessionEvent.IDLED): SessionState.EXPIRED,
    (SessionState.ACTIVE, SessionEvent.CLOSED): SessionState.EXPIRED,
    (SessionState.PAUSED, SessionEvent.CLOSED): SessionState.EXPIRED,
}


class RequestState(StrEnum):
    """Where a session's request is; the contract names the ends."""

    EVALUATING = "evaluating"
    EXECUTING = "executing"
    COMPLETE = "complete"
    REJECTED = "rejected"
    FAILED = "failed"


class RequestEvent(StrEnum):
    """What happens to a session's request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    EVALUATION_FAILED = "evaluation failed"
    DONE = "done"
    WORK_FAILED = "work failed"


REQUEST_TRANSITIONS = {
    (RequestState.EVALUATING, RequestEvent.ACCEPTED): RequestState.EXECUTING,
    (RequestState.EVALUATING, RequestEvent.REFUSED): RequestState.REJECTED,
    (RequestState.EVALUATING, RequestEvent.EVALUATION_FAILED): RequestState.FAILED,
    (RequestState.EXECUTING, RequestEvent.DONE): RequestState.COMPLETE,
    (RequestState.EXECUTING, RequestEvent.WORK_FAILED): RequestState.FAILED,
}

REQUEST_ENDED = frozenset({RequestState.COMPLETE, RequestState.REJECTED, RequestState.FAILED})


class RequestStep(StrEnum):
    """The steps of a session's request."""

    EVALUATE = "evaluate"
    EXECUTE = "execute"


class StillRunning(DeadlinePassed):
    """A request goes on past the time that a call may take; its address tells how it ends. `request_id`: its public id."""

    code = "still_running"

    def __init__(self, message: str, *, request_id: str) -> None:
        super().__init__(message, retry_after_s=5)
        self.request_id = request_id


@dataclass(frozen=True)
class Session:
    """One session row. `expires_at`: while a payment is awaited, when its invoice lapses; later, when it has been idle too long."""

    id: int
    public_id: str = field(repr=False)
    state: SessionState
    deposit_msat: int
    closed: bool
    created_at: datetime
    activated_at: datetime | None
    expires_at: datetime
    ended_at: datetime | None

    @property
    def owner(self) -> Owner:
        """The session as the owner of rows elsewhere."""
        return Owner(SESSION, self.id)


@dataclass(frozen=True)
class SessionRequest:
    """One request of a session. Amounts in msat; the price and the margin are those of its reservation."""

    id: int
    public_id: str = field(repr=False)
    session_id: int
    state: RequestState
    request: str = field(repr=False)
    reserved_msat: int
    btc_price_usd: Decimal
    margin_pct: Decimal
    reason: str | None
    result: str | None = field(repr=False)
    error_message: str | None
    eval_tokens_in: int
    eval_tokens_out: int
    eval_msat: int
    work_msat: int
    created_at: datetime
    ended_at: datetime | None

    @property
    def owner(self) -> Owner:
        """The request as the owner of rows elsewhere."""
        return Owner(REQUEST, self.id)

    @property
    def ref(self) -> str:
        """The name of its reservation and of what it earned, within its session."""
        return f"{REQUEST}:{self.id}"


@dataclass(frozen=True)
class Quoted:
    """What a new request may cost, and the price that says so."""

    reserved_msat: int
    btc_price_usd: Decimal
    price_source: str
    margin_pct: Decimal


@dataclass(frozen=True)
class Outcome:
    """How a request ends: what it says, what it used and what it is charged (msat)."""

    result: str | None = None
    error_message: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    eval_msat: int = 0
    work_msat: int = 0


NOTHING = Outcome()


@dataclass(frozen=True)
class SessionInvoice:
    """A deposit's or top-up's invoice as its payer sees it."""

    id: int
    payment_request: str
    payment_hash: bytes
    amount_sats: int
    expires_at: datetime


@dataclass(frozen=True)
class SessionView:
    """Everything a caller may know of a session. Sats are whole.

    `balance_sats`: what is left of the deposits; of it, `reserved_sats` are spoken for by requests that run. `owed_sats`: what an
    ended session can withdraw, or is withdrawing in `payout`. `withheld`: the macaroon would be here if its payment were proved.
    """

    session: Session
    balance_sats: int
    reserved_sats: int
    owed_sats: int
    invoice: SessionInvoice | None
    topup: SessionInvoice | None
    payout: Payout | None
    macaroon: str | None = field(default=None, repr=False)
    withheld: bool = False


@dataclass(frozen=True)
class RequestView:
    """A session's request with the balance that its session has now, whole sats."""

    request: SessionRequest
    balance_sats: int
    receipt_id: str | None

    @property
    def has_ended(self) -> bool:
        """True once nothing changes any more."""
        return self.request.state in REQUEST_ENDED


@dataclass(frozen=True)
class Closed:
    """An ended session, and the payout of what it had left: None where nothing was left."""

    session: Session
    payout: Payout | None
