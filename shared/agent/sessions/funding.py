"""What a payment means to a session, and what it means that none came. `shared/agent/settlement.py` calls it, nobody else."""

from __future__ import annotations

from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import Session, SessionEvent, SessionState
from shared.db.service import Tx
from shared.events.service import Events
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.lightning.model import Invoice, Purpose


class SessionFunding:
    """Turns deposits and top-ups into balance. Whatever arrives is credited whole, and what comes too late is owed back."""

    def __init__(self, *, events: Events, session_life: SessionLife) -> None:
        self._events = events
        self._session_life = session_life

    def lock(self, tx: Tx, session_id: int) -> Session:
        """Return the session and hold its row lock."""
        return self._session_life.lock(tx, session_id)

    def paid(self, tx: Tx, session: Session, invoice: Invoice, *, paid_msat: int) -> None:
        """Let a locked session go on with money that the ledger has received for it."""
        if invoice.purpose is Purpose.DEPOSIT:
            self._deposited(tx, session, invoice, paid_msat)
        elif session.state is SessionState.EXPIRED:
            self._owe_back(tx, session, invoice, paid_msat)
        else:
            self._topped_up(tx, session)

    def lapsed(self, tx: Tx, session: Session, invoice: Invoice) -> None:
        """Note that an invoice of a locked session cannot be paid any more; without its deposit a session ends."""
        if invoice.purpose is Purpose.DEPOSIT and session.state is SessionState.AWAITING_PAYMENT:
            self._session_life.move(tx, session, SessionEvent.DEPOSIT_LAPSED)
        else:
            self._events.append(tx, session.owner, f"{invoice.purpose} expired")

    def _deposited(self, tx: Tx, session: Session, invoice: Invoice, paid_msat: int) -> None:
        """A deposit paid late is still a deposit: it begins the session that it was for."""
        if session.state is SessionState.AWAITING_PAYMENT:
            self._session_life.move(tx, session, SessionEvent.DEPOSITED)
        elif session.state is SessionState.EXPIRED and session.activated_at is None:
            self._session_life.move(tx, session, SessionEvent.DEPOSITED_LATE)
        else:
            self._owe_back(tx, session, invoice, paid_msat)

    def _topped_up(self, tx: Tx, session: Session) -> None:
        self._session_life.use(tx, session)
        if session.state is SessionState.PAUSED:
            self._session_life.move(tx, session, SessionEvent.TOPPED_UP)
        else:
            self._events.append(tx, session.owner, "top-up paid")

    def _owe_back(self, tx: Tx, session: Session, invoice: Invoice, paid_msat: int) -> None:
        ref = f"{invoice.purpose}:{invoice.id}"
        ledger.owe_back(tx, session.owner, DebtReason.LATE, ref=ref, amount_msat=paid_msat)
        self._events.append(tx, session.owner, f"{invoice.purpose} paid late")
