"""What a payment means to a job, and what it means that none came. `settlement.py` calls it, nobody else."""

from __future__ import annotations

from shared.agent import store
from shared.agent.life import Ending, JobLife
from shared.agent.model import JOB, Job, JobEvent, JobState, JobStep
from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.ledger import service as ledger
from shared.ledger.model import DebtReason
from shared.lightning.model import Invoice, Purpose
from shared.work.model import StepRef
from shared.work.service import Work

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


class JobFunding:
    """Lets jobs go on with what was paid for them."""

    def __init__(self, *, events: Events, life: JobLife, work: Work) -> None:
        self._events = events
        self._life = life
        self._work = work

    def lock(self, tx: Tx, job_id: int) -> Job:
        """Return the job and hold its row lock."""
        job = store.lock_job(tx, job_id)
        if job is None:
            raise IntegrityFault("a job vanished")
        return job

    def paid(self, tx: Tx, job: Job, invoice: Invoice, *, paid_msat: int) -> None:
        """Let a locked job go on with money that the ledger has received for it."""
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

    def lapsed(self, tx: Tx, job: Job, invoice: Invoice) -> None:
        """Note that an invoice of a locked job cannot be paid any more: a job that waits for it ends."""
        event = _LAPSED.get((invoice.purpose, job.state))
        if event is not None:
            self._fail_unpaid(tx, job, event, EXPIRED[event])

    def _fail_unpaid(self, tx: Tx, job: Job, event: JobEvent, message: str) -> None:
        finish_reason = "work_invoice_expired" if event is JobEvent.WORK_EXPIRED else "eval_invoice_expired"
        self._life.move(tx, job, event, error_message=message, ending=Ending(finish_reason))
