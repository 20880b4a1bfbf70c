"""L402 on a session: the first challenge asks for its deposit, each call then is one request, and a top-up follows when it runs low."""

from __future__ import annotations

from shared.access.model import Grant
from shared.agent.admission import require_admissible
from shared.agent.l402 import NOT_FOR_THIS, PAY_FIRST, Call, Challenge, L402Till
from shared.agent.service import NO_INVOICE
from shared.agent.sessions.closing import require_unbounded
from shared.agent.sessions.model import LEAST_SATS, MOST_SATS, SESSION, Closed, RequestView, Session
from shared.agent.sessions.orders import ABOVE_LIMIT_CODE, ENDED
from shared.agent.sessions.service import TOPUP_PENDING_CODE, Sessions
from shared.db.service import Database
from shared.kernel.errors import Conflict, DeadlinePassed, Gone, PaymentRequired
from shared.kernel.money import msat
from shared.lightning.model import InvoiceState, Purpose

TOP_UP = "the balance does not cover what this call may cost: pay the top-up and repeat the call with its credential"


class L402Requests:
    """Sells requests on a session: the first challenge asks for its deposit, later ones for a top-up."""

    def __init__(
        self, database: Database, *, till: L402Till, sessions: Sessions, max_request_chars: int, deposit_sats: int
    ) -> None:
        self._database = database
        self._till = till
        self._sessions = sessions
        self._max_request_chars = max_request_chars
        self._deposit_sats = deposit_sats

    def buy(self, request: str, call: Call, *, amount_sats: int | None = None) -> RequestView | Challenge:
        """Return the request as its session has done it; else what to pay: `amount_sats`, or the operator's usual deposit.

        A credential of something else or of a session that has ended gets the challenge of a new session; one whose session
        lacks balance gets a top-up's. Raises `InvalidInput`, `PaymentRequired` (above what the macaroon allows a call), and what
        `SessionOrders.place` raises besides.
        """
        require_admissible(request, max_chars=self._max_request_chars)
        amount_sats = amount_sats or self._deposit_sats
        grant = call.grant
        if grant is None or grant.subject != SESSION:
            return self._open(amount_sats, call, PAY_FIRST if grant is None else NOT_FOR_THIS)
        session = self._session(grant)
        try:
            return self._sessions.request(
                session.id, request, max_sats=grant.max_sats, claim=call.claim, wait=call.wait
            )
        except Gone:
            return self._open(amount_sats, call, ENDED)
        except PaymentRequired as short:
            if short.code == ABOVE_LIMIT_CODE:
                raise
            challenge = self._top_up(session, grant, amount_sats, short.needed_sats - short.available_sats)
        return challenge or self.buy(request, call, amount_sats=amount_sats)  # again only after a payment, so it ends

    def look(self, request_id: str, grant: Grant) -> RequestView:
        """Return a request of the session that the credential paid for. Raises `Unauthorized`, `NotFound`."""
        return self._sessions.look(self._session(grant).id, request_id)

    def close(self, grant: Grant, payment_request: str | None) -> Closed:
        """End the session that the credential paid for, and pay out what is left (`SessionClosing.close`). Raises `Unauthorized`."""
        require_unbounded(grant)
        return self._sessions.close(self._session(grant).id, payment_request)

    def _session(self, grant: Grant) -> Session:
        with self._database.transaction() as tx:
            return self._sessions.of_grant(tx, grant)

    def _open(self, amount_sats: int, call: Call, message: str) -> Challenge:
        view = self._sessions.create(amount_sats, address=call.address)
        if view.invoice is None:
            raise DeadlinePassed(NO_INVOICE)
        return self._till.challenge(
            view.invoice.payment_hash, message=message, subject=SESSION, subject_id=view.session.public_id
        )

    def _top_up(self, session: Session, grant: Grant, amount_sats: int, missing_sats: int) -> Challenge | None:
        """Challenge to top up; None where a top-up has been paid meanwhile. One at a time: one that waits for its payment already is
        asked for again, unless it would not cover what is missing.
        """
        least_sats = min(max(missing_sats, LEAST_SATS), MOST_SATS)
        pending = self._till.pending(session.owner, Purpose.TOPUP)
        if pending is not None:
            self._sessions.get(session.public_id)  # which has the node asked about it
            pending = self._till.current(pending)
            if pending.state is InvoiceState.SETTLED:
                return None
        if pending is not None and pending.state is InvoiceState.OPEN and pending.amount_msat >= msat(least_sats):
            payment_hash = pending.payment_hash
        else:
            payment_hash = self._ask_for_top_up(session, min(max(amount_sats, least_sats), MOST_SATS), least_sats)
        return self._till.challenge(
            payment_hash, message=TOP_UP, subject=SESSION, subject_id=session.public_id, grant=grant
        )

    def _ask_for_top_up(self, session: Session, amount_sats: int, least_sats: int) -> bytes:
        """Ask for one in place of a lesser one, or wait for the one that a call beside this one has just asked for; return its hash."""
        try:
            return self._sessions.topup(session.id, amount_sats, replaces_below_sats=least_sats).payment_hash
        except Conflict as conflict:
            if conflict.code != TOPUP_PENDING_CODE:
                raise
            return self._till.payable(session.owner, Purpose.TOPUP).payment_hash
