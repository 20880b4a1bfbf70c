"""Opening the invoices of a session at the node. They have steps of their own: a session has several top-ups."""

from __future__ import annotations

from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import SessionEvent, SessionState
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault, Unavailable
from shared.lightning.model import INVOICE, Invoice, InvoiceState, InvoiceStep, Opened, Purpose
from shared.lightning.service import Invoices
from shared.work.model import Claim, RetryLater, StepRef
from shared.work.service import Work

_ASK_AGAIN_S = 1.0


class Openings:
    """Has the node make a session's invoices payable. `expiry_s`: how long payers have."""

    def __init__(
        self,
        database: Database,
        *,
        invoices: Invoices,
        session_life: SessionLife,
        events: Events,
        work: Work,
        expiry_s: int,
    ) -> None:
        self._database = database
        self._invoices = invoices
        self._session_life = session_life
        self._events = events
        self._work = work
        self._expiry_s = expiry_s

    def open(self, invoice_id: int) -> None:
        """Create the invoice at the node. A session whose deposit cannot be asked for ends."""

        def effect(_claim: Claim) -> Opened | None:
            invoice = self._invoices.read(invoice_id)
            if invoice.state is not InvoiceState.OPEN or invoice.payment_request is not None:
                return None  # given up meanwhile
            try:
                return self._invoices.ask_node(invoice, expiry_s=self._expiry_s)
            except Unavailable as error:  # the caller waits for a while; after that the invoice is given up, or lapses
                raise RetryLater(error.message, delay_s=_ASK_AGAIN_S, counts=False) from error

        def finish(tx: Tx, answer: Opened | None) -> None:
            if answer is None:
                return
            session = self._session_life.lock(tx, answer.invoice.owner.id)
            if self._invoices.opened(tx, answer):
                self._events.append(tx, session.owner, f"{answer.invoice.purpose} invoice opened")

        def give_up(tx: Tx, _reason: str) -> None:
            invoice = self._in(tx, invoice_id)
            session = self._session_life.lock(tx, invoice.owner.id)
            if not self._invoices.withdraw(tx, invoice):
                return
            if invoice.purpose is Purpose.DEPOSIT and session.state is SessionState.AWAITING_PAYMENT:
                self._session_life.move(tx, session, SessionEvent.ABANDONED)

        self._work.perform(
            StepRef(INVOICE, invoice_id, InvoiceStep.OPEN), effect=effect, finish=finish, give_up=give_up
        )

    def _in(self, tx: Tx, invoice_id: int) -> Invoice:
        invoice = self._invoices.by_id(tx, invoice_id)
        if invoice is None:
            raise IntegrityFault("a step without its invoice")
        return invoice
