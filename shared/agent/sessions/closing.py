"""The end of a session: closed by its holder, or idle too long. What is left is owed back, and paid out to the holder's invoice."""

from __future__ import annotations

import structlog

from shared.access.model import Grant
from shared.agent.refunds import WRONG_AMOUNT, Refunds, claimable_sats
from shared.agent.sessions import store
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import Closed, Session, SessionEvent, SessionState
from shared.agent.sessions.orders import NOT_PAID_YET
from shared.db.service import Database, Tx
from shared.kernel.errors import Conflict, InvalidInput, Unauthorized
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.money import whole_sats
from shared.ledger import service as ledger
from shared.lightning.model import Payable, Payout

log = structlog.get_logger(__name__)

STILL_RUNS = "A request of this session still runs; close it once that has ended."
NOTHING_LEFT = "Nothing is left to pay out: close without an invoice."
FIELD = "invoice"


class SessionClosing:
    """Ends sessions. `payout_wait_s`: how long a call waits for its payment, in seconds."""

    def __init__(
        self, database: Database, *, session_life: SessionLife, refunds: Refunds, payout_wait_s: float
    ) -> None:
        self._database = database
        self._session_life = session_life
        self._refunds = refunds
        self._payout_wait_s = payout_wait_s

    def close(self, session_id: int, payment_request: str | None) -> Closed:
        """End the session and pay what is left to the caller's invoice, which must ask for exactly that; on an ended session
        pay what is still owed. The same invoice again gets the same payout; none is needed where nothing is left.

        Raises, in this order: `Conflict` (not paid yet), `InvalidInput` (malformed), `Conflict` (a request runs), `InvalidInput`
        (another amount than is left: the message names it), `Conflict` (another invoice while a payout is open).
        """
        self._require_paid_for(session_id)  # a text is decoded, which takes long, for those alone who have paid
        payable = None if payment_request is None else self._refunds.read(payment_request)
        with self._database.transaction() as tx, failpoint("session.close"):
            session = self._session_life.lock(tx, session_id)
            payout = self._ended(tx, session, payable) or self._settled(tx, session, payable)
        if payout is not None:
            payout = self._refunds.outcome(payout, wait_s=self._payout_wait_s)
        with self._database.transaction() as tx:
            return Closed(store.session(tx, session_id) or session, payout)

    def expire(self, tx: Tx) -> None:
        """End up to 100 sessions that nobody has used for too long. Nothing is forfeited: what is left is owed back."""
        with failpoint("session.expire"):
            for session in store.take_idle(tx):
                self._expire_one(tx, session)

    def _expire_one(self, tx: Tx, session: Session) -> None:
        """End one session; one that cannot end stays as it is, and no other waits for it."""
        try:
            with tx.savepoint():
                self._session_life.end(tx, session, SessionEvent.IDLED)
        except Exception as error:  # whatever is wrong with one is not the others' matter
            log.exception("session_not_expired", session=session.id, error=type(error).__name__)

    def _require_paid_for(self, session_id: int) -> None:
        with self._database.transaction() as tx:
            session = store.session(tx, session_id)
        if session is not None and session.state is SessionState.AWAITING_PAYMENT:
            raise Conflict(NOT_PAID_YET, code="not_paid_yet")

    def _ended(self, tx: Tx, session: Session, payable: Payable | None) -> Payout | None:
        """End a session that goes on; its payout, if anything is left."""
        if session.state is SessionState.AWAITING_PAYMENT:
            raise Conflict(NOT_PAID_YET, code="not_paid_yet")
        if session.state is SessionState.EXPIRED:
            return None
        if ledger.reserved(tx, session.owner):
            raise Conflict(STILL_RUNS, code="requests_running")
        left_sats = whole_sats(ledger.held(tx, session.owner))
        _require_invoice(payable, left_sats)
        self._session_life.end(tx, session, SessionEvent.CLOSED)
        return None if payable is None else self._refunds.claim(tx, session.owner, payable)

    def _settled(self, tx: Tx, session: Session, payable: Payable | None) -> Payout | None:
        """Pay what an ended session is still owed; without an invoice, tell of its last payout."""
        if session.state is not SessionState.EXPIRED:
            return None
        if payable is not None:
            return self._refunds.claim(tx, session.owner, payable)
        _require_invoice(None, claimable_sats(ledger.debts(tx, session.owner)))
        payouts = self._refunds.payouts(tx, session.owner)
        return payouts[-1] if payouts else None


def require_unbounded(grant: Grant) -> None:
    """Refuse a macaroon that its holder bounded to so much a call: what is left may be more. Raises `Unauthorized`."""
    if grant.max_sats is not None:
        raise Unauthorized("a macaroon with max_sats cannot take out what is left")


def _require_invoice(payable: Payable | None, left_sats: int) -> None:
    """Require an invoice for just what is left, and none for nothing."""
    if payable is None and left_sats:
        message = f"an invoice for exactly {left_sats} sats is needed: that is what is left"
        raise InvalidInput(message, field=FIELD, code=WRONG_AMOUNT)
    if payable is not None and not left_sats:
        raise InvalidInput(NOTHING_LEFT, field=FIELD, code=WRONG_AMOUNT)
    if payable is not None and whole_sats(payable.amount_msat) != left_sats:
        message = f"the invoice must ask for exactly {left_sats} sats: that is what is left"
        raise InvalidInput(message, field=FIELD, code=WRONG_AMOUNT)
