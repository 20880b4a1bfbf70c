"""How a session moves: one function. State, history and what is owed at the end commit together or not at all."""

from __future__ import annotations

from shared.agent.sessions import store
from shared.agent.sessions.model import (
    SESSION_TRANSITIONS,
    Session,
    SessionEvent,
    SessionState,
)
from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.transitions import next_state
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.lightning.model import Purpose
from shared.lightning.service import Invoices


class SessionLife:
    """Moves sessions. `minimum_msat`: below it a session at rest is paused; `idle_s`: seconds without use that end one."""

    def __init__(self, *, events: Events, invoices: Invoices, minimum_msat: int, idle_s: float) -> None:
        self._events = events
        self._invoices = invoices
        self._minimum_msat = minimum_msat
        self._idle_s = idle_s

    def lock(self, tx: Tx, session_id: int) -> Session:
        """Return a session and hold its row lock: the owner first, then its invoices and requests, then its accounts."""
        session = store.lock_session(tx, session_id)
        if session is None:
            raise IntegrityFault("a session vanished")
        return session

    def move(self, tx: Tx, session: Session, event: SessionEvent) -> SessionState:
        """Move a locked session and write its history. Raises `TransitionConflict`."""
        to_state = next_state(SESSION_TRANSITIONS, session.state, event)
        store.move_session(
            tx,
            session.id,
            from_state=session.state,
            to_state=to_state,
            idle_s=self._idle_s,
            closes=event is SessionEvent.CLOSED,
        )
        self._events.append(tx, session.owner, event, moved=(session.state, to_state))
        return to_state

    def end(self, tx: Tx, session: Session, event: SessionEvent) -> None:
        """End a locked session that nothing runs in: what is left is owed back, and no top-up can be paid any more."""
        if ledger.reserved(tx, session.owner):
            raise IntegrityFault("a session ends once nothing is reserved")
        left_msat = ledger.held(tx, session.owner)
        ledger.owe_back(tx, session.owner, DebtReason.UNSPENT, ref="end", amount_msat=left_msat)
        self.move(tx, session, event)
        pending = self._invoices.by_purpose(tx, session.owner, Purpose.TOPUP)
        if pending is not None:
            self._invoices.withdraw(tx, pending)

    def use(self, tx: Tx, session: Session) -> None:
        """Note that a locked session is used: its idle time begins anew."""
        store.slide_session(tx, session.id, idle_s=self._idle_s)

    def rest(self, tx: Tx, session: Session) -> None:
        """Pause a locked, active session in which nothing runs and too little is left."""
        if session.state is not SessionState.ACTIVE or ledger.reserved(tx, session.owner):
            return
        if ledger.held(tx, session.owner) < self._minimum_msat:
            self.move(tx, session, SessionEvent.RAN_LOW)
