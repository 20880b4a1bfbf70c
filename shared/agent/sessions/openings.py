"""Opening and withdrawing the invoices of a session at the node. They have steps of their own: a session has several top-ups."""

from __future__ import annotations

from shared.agent.polling import Polling
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import INVOICE, InvoiceStep, SessionEvent, SessionState
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault, Unavailable
from shared.lightning.clients.faults import LightningError
from shared.lightning.model import Invoice, InvoiceState, Opened, Purpose
from shared.lightning.service import Invoices
from shared.work.model import Claim, RetryLater, StepFailed, StepRef
from shared.work.service import Work

_ASK_AGAIN_S = 1.0
_WITHDRAW_AGAIN_S = 30.0
_WITHDRAW_FOR_S = 86_400.0
_ON_ITS_WAY_S = 20.0  # four times the deadline of a call to the node


class Openings:
    """Has the node make a session's invoices payable, and unpayable again. `expiry_s`: how long payers have."""

    def __init__(
        self,
        database: Database,
        *,
        invoices: Invoices,
        session_life: SessionLife,
        polling: Polling,
        events: Events,
        work: Work,
        expiry_s: int,
    ) -> None:
        self._database = database
        self._invoices = invoices
        self._session_life = session_life
        self._polling = polling
        self._events = events
        self._work = work
        self._expiry_s = expiry_s

    def open(self, invoice_id: int) -> None:
        """Create the invoice at the node. A session whose deposit cannot be asked for ends."""

        def effect(_claim: Claim) -> Opened | None:
            invoice = self._invoice(invoice_id)
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
            if not self._session_life.withdraw(tx, invoice):
                return
            if invoice.purpose is Purpose.DEPOSIT and session.state is SessionState.AWAITING_PAYMENT:
                self._session_life.move(tx, session, SessionEvent.ABANDONED)

        self._work.perform(
            StepRef(INVOICE, invoice_id, InvoiceStep.OPEN), effect=effect, finish=finish, give_up=give_up
        )

    def withdraw(self, invoice_id: int) -> None:
        """Make an abandoned invoice unpayable at the node; if it was paid before, that is credited."""

        def effect(claim: Claim) -> None:
            try:
                is_known = self._polling.withdraw(self._invoice(invoice_id))
            except LightningError as error:
                if claim.age_s > _WITHDRAW_FOR_S:  # by then the node has let it expire
                    raise StepFailed(error.message) from error
                raise RetryLater(error.message, delay_s=_WITHDRAW_AGAIN_S, counts=False) from error
            if not is_known and claim.age_s < _ON_ITS_WAY_S:
                raise RetryLater("a creation may be on its way", delay_s=_ON_ITS_WAY_S, counts=False)

        self._work.perform(
            StepRef(INVOICE, invoice_id, InvoiceStep.WITHDRAW),
            effect=effect,
            finish=lambda _tx, _nothing: None,
            give_up=lambda _tx, _reason: None,
        )

    def _invoice(self, invoice_id: int) -> Invoice:
        with self._database.transaction() as tx:
            return self._in(tx, invoice_id)

    def _in(self, tx: Tx, invoice_id: int) -> Invoice:
        invoice = self._invoices.by_id(tx, invoice_id)
        if invoice is None:
            raise IntegrityFault("a step without its invoice")
        return invoice
