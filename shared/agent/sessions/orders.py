"""A request placed on a session's balance: the most it can cost is reserved before anything runs, and its end is waited for."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agent.admission import require_admissible
from shared.agent.pricing import Rates, request_most
from shared.agent.sessions import store
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import (
    REQUEST,
    REQUEST_ENDED,
    SESSION,
    Quoted,
    RequestStep,
    RequestView,
    Session,
    SessionRequest,
    SessionState,
    StillRunning,
)
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.errors import Conflict, Gone, NotFound, PaymentRequired
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids, is_public
from shared.kernel.money import whole_sats
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.lightning.clients.price import PriceFeeds
from shared.receipts.service import Receipts
from shared.work.model import StepRef
from shared.work.service import Work

NOT_PAID_YET = "The session's deposit is not paid yet."
ENDED = "The session has ended; what it had left can be withdrawn by closing it."
PAUSED = "The session is paused: too little is left. A top-up resumes it."
TOO_LITTLE = "The balance does not cover what this request may cost. A top-up helps."
ABOVE_LIMIT_CODE = "above_macaroon_limit"
ABOVE_LIMIT = "This request may cost more than the macaroon allows a call."
STILL_RUNNING = "The request still runs and will be debited; its address, in Location, tells how it ends."
NO_SUCH_REQUEST = "this session has no such request"
REQUEST_PREFIX = "req"
MOST_LISTED = 100


@dataclass(frozen=True)
class OrderTerms:
    """`max_request_chars` bounds a request; `sync_wait_s` is how long a call waits for its end, in seconds."""

    max_request_chars: int
    sync_wait_s: float


class SessionOrders:
    """Takes requests, and tells how they go."""

    def __init__(
        self,
        database: Database,
        *,
        terms: OrderTerms,
        session_life: SessionLife,
        prices: PriceFeeds,
        rates: Rates,
        receipts: Receipts,
        events: Events,
        work: Work,
        ids: Ids,
    ) -> None:
        self._database = database
        self._terms = terms
        self._session_life = session_life
        self._prices = prices
        self._rates = rates
        self._receipts = receipts
        self._events = events
        self._work = work
        self._ids = ids

    def place(
        self,
        session_id: int,
        text: str,
        *,
        max_sats: int | None = None,
        claim: KeyClaim | None = None,
        wait: bool = True,
    ) -> RequestView:
        """Have a request done on the session's balance; the one that `claim`'s key names, if it names one.

        `max_sats`: the most that this call may reserve. Raises, in this order: `InvalidInput` (empty, above the character limit),
        `NoTrustworthyPrice`, `Gone` (ended), `Conflict` (not paid yet), `PaymentRequired`. With `wait`, returns the end, or raises
        `StillRunning` where it does not come in time: the request goes on.
        """
        require_admissible(text, max_chars=self._terms.max_request_chars)
        request = self._made_before(claim, session_id) or self._place(session_id, text, max_sats, claim)
        if not wait:
            return self._read(request.id)
        view = self._events.wait(
            request.owner, look=lambda: self._ended(request.id), deadline_s=self._terms.sync_wait_s
        )
        if view is None:
            raise StillRunning(STILL_RUNNING, request_id=request.public_id)
        return view

    def look(self, session_id: int, request_id: str) -> RequestView:
        """Return one request of the session. Raises `NotFound`."""
        with self._database.transaction() as tx:
            request = None
            if is_public(request_id, REQUEST_PREFIX):
                request = store.request_by_public_id(tx, session_id, request_id)
            if request is None:
                raise NotFound(NO_SUCH_REQUEST)
            return self._view(tx, request)

    def newest(self, session_id: int, *, before: str | None, most: int) -> list[RequestView]:
        """Return up to `most` requests of the session, newest first, older than the one named `before`. Raises `NotFound`."""
        older_than = None if before is None else self.look(session_id, before).request.id
        with self._database.transaction() as tx:
            found = store.requests_of(tx, session_id, before=older_than, most=min(most, MOST_LISTED))
            balance_sats = whole_sats(ledger.held(tx, Owner(SESSION, session_id)))
            return [RequestView(request, balance_sats, self._receipts.id_of(tx, request.owner)) for request in found]

    # -- placing

    def _made_before(self, claim: KeyClaim | None, session_id: int) -> SessionRequest | None:
        if claim is None or claim.made is None:
            return None
        with self._database.transaction() as tx:
            request = store.request(tx, claim.made.id)
        return request if request is not None and request.session_id == session_id else None

    def _place(self, session_id: int, text: str, max_sats: int | None, claim: KeyClaim | None) -> SessionRequest:
        price = self._prices.quote()
        quoted = Quoted(
            reserved_msat=request_most(self._rates, request_chars=len(text), btc_price_usd=price.usd),
            btc_price_usd=price.usd,
            price_source=price.source,
            margin_pct=self._rates.margin_pct,
        )
        with self._database.transaction() as tx, failpoint("session.request"):
            session = self._session_life.lock(tx, session_id)
            require_usable(session)
            require_covered(tx, session, quoted, max_sats=max_sats)
            request = self._insert(tx, session, text, quoted)
            if claim is not None:
                idempotency.name(tx, claim, request.owner)
        return request

    def _insert(self, tx: Tx, session: Session, text: str, quoted: Quoted) -> SessionRequest:
        public_id = self._ids.public(REQUEST_PREFIX)
        request = store.insert_request(tx, session.id, public_id=public_id, request=text, quoted=quoted)
        life_s = self._terms.sync_wait_s
        if not ledger.reserve(tx, session.owner, ref=request.ref, amount_msat=quoted.reserved_msat, life_s=life_s):
            raise _short_of(tx, session, quoted.reserved_msat, TOO_LITTLE)
        self._session_life.use(tx, session)
        self._events.append(tx, request.owner, "created", moved=("", request.state))
        self._events.append(tx, session.owner, "request taken")
        self._work.start(tx, StepRef(REQUEST, request.id, RequestStep.EVALUATE))
        return request

    # -- telling

    def _ended(self, request_id: int) -> RequestView | None:
        with self._database.transaction() as tx:
            request = store.request(tx, request_id)
            if request is None:
                raise NotFound(NO_SUCH_REQUEST)
            return self._view(tx, request) if request.state in REQUEST_ENDED else None

    def _read(self, request_id: int) -> RequestView:
        with self._database.transaction() as tx:
            request = store.request(tx, request_id)
            if request is None:
                raise NotFound(NO_SUCH_REQUEST)
            return self._view(tx, request)

    def _view(self, tx: Tx, request: SessionRequest) -> RequestView:
        balance_sats = whole_sats(ledger.held(tx, Owner(SESSION, request.session_id)))
        return RequestView(request, balance_sats, self._receipts.id_of(tx, request.owner))


def require_usable(session: Session) -> None:
    """Raise `Gone` for a session that has ended, `Conflict` for one that is not paid yet: in this order, before any body is read."""
    if session.state is SessionState.EXPIRED:
        raise Gone(ENDED, code="session_expired")
    if session.state is SessionState.AWAITING_PAYMENT:
        raise Conflict(NOT_PAID_YET, code="not_paid_yet")


def require_covered(tx: Tx, session: Session, quoted: Quoted, *, max_sats: int | None) -> None:
    """Raise `PaymentRequired` where a locked session, or what its holder may spend on a call, does not allow the reservation."""
    needed_sats = whole_sats(quoted.reserved_msat)
    if max_sats is not None and needed_sats > max_sats:  # first, for no top-up helps here
        raise PaymentRequired(ABOVE_LIMIT, needed_sats=needed_sats, available_sats=max_sats, code=ABOVE_LIMIT_CODE)
    if session.state is SessionState.PAUSED:
        raise _short_of(tx, session, quoted.reserved_msat, PAUSED)
    if ledger.available(tx, session.owner) < quoted.reserved_msat:
        raise _short_of(tx, session, quoted.reserved_msat, TOO_LITTLE)


def _short_of(tx: Tx, session: Session, needed_msat: int, message: str) -> PaymentRequired:
    available_sats = whole_sats(ledger.available(tx, session.owner))
    return PaymentRequired(message, needed_sats=whole_sats(needed_msat), available_sats=available_sats)
