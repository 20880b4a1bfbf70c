"""The only settle use case. Listener, sweep and a GET's nudge all end here; the same settlement credits once.

One transaction: the invoice is settled, the ledger credits the owner, the owner's machine moves, the next chain is in the outbox.
"""

from __future__ import annotations

import structlog

from shared.agent import store
from shared.agent.life import Ending, JobLife
from shared.agent.model import JOB, Job, JobEvent, JobState, JobStep
from shared.agent.sessions.funding import SessionFunding
from shared.agent.sessions.model import SESSION, Session
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.lightning.model import Invoice, Purpose, Settlement
from shared.lightning.service import Invoices
from shared.work.model import StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

UNDERPAID = "The payment was below the invoice's amount; it is owed back."
EXPIRED = {
    JobEvent.EVAL_EXPIRED: "The evaluation invoice expired unpaid; nothing was charged.",
    JobEvent.WORK_EXPIRED: "The work invoice expired unpaid; only the evaluation fee was charged.",
}

_PAID = {
    (Purpose.EVAL, JobState.AWAITING_EVAL_PAYMENT): (JobEvent.EVAL_PAID, JobStep.EVALUATE),
    (Purpose.WORK, JobState.AWAITING_WORK_PAYMENT): (JobEvent.WORK_PAID, JobStep.EXECUTE),
}
_LAPSED = {
    (Purpose.EVAL, JobState.AWAITING_EVAL_PAYMENT): JobEvent.EVAL_EXPIRED,
    (Purpose.WORK, JobState.AWAITING_WORK_PAYMENT): JobEvent.WORK_EXPIRED,
}


class Settlements:
    """Turns what the Lightning node says into money and moves."""

    def __init__(
        self,
        database: Database,
        *,
        invoices: Invoices,
        events: Events,
        life: JobLife,
        funding: SessionFunding,
        work: Work,
    ) -> None:
        self._database = database
        self._invoices = invoices
        self._events = events
        self._life = life
        self._funding = funding
        self._work = work

    def settle(self, settlement: Settlement, *, from_subscription: bool = False) -> bool:
        """Credit a settlement once; False where it was credited before or is not ours.

        `from_subscription` moves the subscription's place in the same transaction, also for what is not ours.
        """
        with self._database.transaction() as tx, failpoint("invoice.settle"):
            credited = self._credit(tx, settlement)
            if from_subscription:
                self._invoices.move_cursor(tx, settlement.settle_index)
        return credited

    def lapse(self, invoice: Invoice) -> bool:
        """End an unpaid invoice that the node has cancelled, and its owner's waiting; False where it was not open any more."""
        with self._database.transaction() as tx:
            owner = self._lock(tx, invoice)
            with failpoint("invoice.lapse"):
                if not self._invoices.lapse(tx, invoice):
                    return False
                if isinstance(owner, Session):
                    self._funding.lapsed(tx, owner, invoice)
                    return True
                event = _LAPSED.get((invoice.purpose, owner.state))
                if event is not None:
                    self._fail_unpaid(tx, owner, event, EXPIRED[event])
        return True

    def _credit(self, tx: Tx, settlement: Settlement) -> bool:
        found = self._invoices.by_hash(tx, settlement.payment_hash)
        if found is None:
            log.info("foreign_invoice_settled", settle_index=settlement.settle_index)
            return False
        owner = self._lock(tx, found)
        invoice = self._invoices.record_settlement(tx, found, settlement)
        if invoice is None:
            return False
        ledger.receive(tx, invoice.owner, ref=invoice.payment_hash.hex(), amount_msat=settlement.paid_msat)
        if isinstance(owner, Session):
            self._funding.paid(tx, owner, invoice, paid_msat=settlement.paid_msat)
        else:
            self._move(tx, owner, invoice, paid_msat=settlement.paid_msat)
        return True

    def _move(self, tx: Tx, job: Job, invoice: Invoice, *, paid_msat: int) -> None:
        expected = _PAID.get((invoice.purpose, job.state))
        if invoice.late or expected is None:
            ledger.owe_back(tx, job.owner, DebtReason.LATE, ref=invoice.purpose, amount_msat=paid_msat)
            self._events.append(tx, job.owner, f"{invoice.purpose} paid late")
            return
        if paid_msat < invoice.amount_msat:  # lnd does not settle these; if one ever does, nobody loses it
            ledger.owe_back(tx, job.owner, DebtReason.UNDERPAID, ref=invoice.purpose, amount_msat=paid_msat)
            self._fail_unpaid(tx, job, _LAPSED[invoice.purpose, job.state], UNDERPAID)
            return
        event, step = expected
        if invoice.purpose is Purpose.WORK:
            store.record_work_payment(tx, job.id, paid_msat=paid_msat)
        else:
            excess_msat = paid_msat - invoice.amount_msat
            ledger.owe_back(tx, job.owner, DebtReason.OVERPAID, ref=invoice.purpose, amount_msat=excess_msat)
        self._life.move(tx, job, event)
        self._work.start(tx, StepRef(JOB, job.id, step))

    def _fail_unpaid(self, tx: Tx, job: Job, event: JobEvent, message: str) -> None:
        finish_reason = "work_invoice_expired" if event is JobEvent.WORK_EXPIRED else "eval_invoice_expired"
        self._life.move(tx, job, event, error_message=message, ending=Ending(finish_reason))

    def _lock(self, tx: Tx, invoice: Invoice) -> Job | Session:
        """Lock order everywhere: the owner first, then its invoice, then its accounts."""
        if invoice.owner.kind == SESSION:
            return self._funding.lock(tx, invoice.owner.id)
        job = store.lock_job(tx, invoice.owner.id) if invoice.owner.kind == JOB else None
        if job is None:
            raise IntegrityFault("an invoice without its owner")
        return job
