"""Jobs as their callers see them: create one, look at one. What moves them lives in `evaluation`, `execution`, `settlement`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from shared.agent import store
from shared.agent.admission import require_admissible
from shared.agent.life import JobLife
from shared.agent.model import (
    ENDED,
    JOB,
    CostLedger,
    Invoiced,
    Job,
    JobEvent,
    JobState,
    JobStep,
    JobView,
    Prepayment,
    RefundState,
)
from shared.agent.refunds import refund_of
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.derive import derive
from shared.kernel.errors import DeadlinePassed, NotFound, TooMany, Unavailable
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids, is_public
from shared.kernel.money import msat, whole_sats
from shared.ledger import service as ledger
from shared.lightning.model import Invoice, Opened, Purpose, Terms
from shared.lightning.payouts import Payouts
from shared.lightning.service import Invoices
from shared.receipts.service import Receipts
from shared.work.model import RetryLater, StepRef
from shared.work.service import Work

NO_INVOICE = "The invoice could not be created in time; nothing was charged."
EVAL_MEMO = "Evaluation fee"
WORK_MEMO = "Work"
PREPAID_MEMO = "Evaluation and work"
ZERO = Decimal(0)
_ASK_AGAIN_S = 1.0


@dataclass(frozen=True)
class JobTerms:
    """What a job may ask for and costs to judge. `invoice_wait_s`, `nudge_wait_s`: seconds a web call may wait."""

    eval_fee_sats: int
    max_request_chars: int
    max_unpaid_invoices: int
    invoice_expiry_s: int
    invoice_wait_s: float
    nudge_wait_s: float = 2.0


class Jobs:
    """The paid agent's front desk."""

    def __init__(
        self,
        database: Database,
        *,
        terms: JobTerms,
        life: JobLife,
        invoices: Invoices,
        receipts: Receipts,
        events: Events,
        work: Work,
        ids: Ids,
        secret_key: bytes,
        payouts: Payouts,
    ) -> None:
        self._database = database
        self._terms = terms
        self._life = life
        self._invoices = invoices
        self._receipts = receipts
        self._events = events
        self._work = work
        self._ids = ids
        self._secret_key = secret_key
        self._payouts = payouts

    def create(self, request: str, *, address: str, claim: KeyClaim | None = None) -> JobView:
        """Create a job and wait for its evaluation invoice; for that of the job which `claim`'s key names, if it names one.

        Raises `InvalidInput` (empty or above the character limit), `TooMany` (unpaid jobs of this address), `DeadlinePassed`
        where no invoice came in time: the job has then failed and its invoice is withdrawn at the node, so nothing
        unseen can be paid.
        """
        return self._create(request, None, address=address, claim=claim)

    def create_prepaid(self, request: str, quote: Prepayment, *, address: str) -> JobView:
        """Create a job whose first invoice pays for evaluation and work together, at the price in `quote`, which it locks."""
        return self._create(request, quote, address=address, claim=None)

    def outcome(self, public_id: str, *, wait_s: float) -> JobView:
        """Return a job as soon as it has ended, or as it stands after `wait_s` seconds."""
        view = self._view_by_public_id(public_id)
        if view.job.state in ENDED:
            return view
        ended = self._events.wait(view.job.owner, look=lambda: self._ended(public_id), deadline_s=wait_s)
        return ended or self._view_by_public_id(public_id)

    def _create(self, request: str, quote: Prepayment | None, *, address: str, claim: KeyClaim | None) -> JobView:
        require_admissible(request, max_chars=self._terms.max_request_chars)
        address_hash = self._address_hash(address)
        with self._database.transaction() as tx, failpoint("job.create"):
            job = self._made_before(tx, claim) or self._insert(tx, request, quote, address_hash=address_hash)
            if claim is not None and claim.made != job.owner:
                idempotency.name(tx, claim, job.owner)
        view = self._events.wait(job.owner, look=lambda: self._opened(job.id), deadline_s=self._terms.invoice_wait_s)
        if view is not None:
            return view
        return self._abandon(job)

    def get(self, public_id: str) -> JobView:
        """Return a job. One that waits for a payment has the node asked first, so a caller alone can drive a paid job."""
        view = self._view_by_public_id(public_id)
        if view.job.state in (JobState.AWAITING_EVAL_PAYMENT, JobState.AWAITING_WORK_PAYMENT):
            self._invoices.nudge(view.job.owner, patience_s=self._terms.nudge_wait_s)
            view = self._view_by_public_id(public_id)
        return view

    def open_eval_invoice(self, job_id: int) -> None:
        """Create the evaluation invoice at the node. First link of a job's first chain."""

        def effect(_claim: object) -> Opened | None:
            with self._database.transaction() as tx:
                job = store.job(tx, job_id)
                invoice = self._invoices.by_purpose(tx, job.owner, Purpose.EVAL) if job else None
            if job is None or invoice is None or job.state is not JobState.AWAITING_EVAL_PAYMENT:
                return None  # abandoned meanwhile
            try:
                return self._invoices.ask_node(invoice, expiry_s=self._terms.invoice_expiry_s)
            except Unavailable as error:  # the caller waits for a while; after that the job is abandoned or lapses
                raise RetryLater(error.message, delay_s=_ASK_AGAIN_S, counts=False) from error

        def finish(tx: Tx, answer: Opened | None) -> None:
            store.lock_job(tx, job_id)  # the owner first, everywhere: events are numbered under its lock
            if answer is not None and self._invoices.opened(tx, answer):
                self._events.append(tx, answer.invoice.owner, "eval invoice opened")

        def give_up(tx: Tx, _reason: str) -> None:
            job = store.lock_job(tx, job_id)
            if job is not None and job.state is JobState.AWAITING_EVAL_PAYMENT:
                self._life.move(tx, job, JobEvent.ABANDONED, error_message=NO_INVOICE)
                self._withdraw(tx, job)

        self._work.perform(
            StepRef(JOB, job_id, JobStep.OPEN_EVAL_INVOICE), effect=effect, finish=finish, give_up=give_up
        )

    # -- creation

    def _made_before(self, tx: Tx, claim: KeyClaim | None) -> Job | None:
        """Return the job that an earlier request with the same key made, unless it was taken back unseen."""
        job = store.job(tx, claim.made.id) if claim is not None and claim.made is not None else None
        if job is None or (job.state is JobState.FAILED and self._view(tx, job).eval_invoice is None):
            return None
        return job

    def _insert(self, tx: Tx, request: str, quote: Prepayment | None, *, address_hash: bytes) -> Job:
        if store.unpaid_of_address(tx, address_hash) >= self._terms.max_unpaid_invoices:
            raise TooMany("too many unpaid invoices from this address: pay one or let it expire", retry_after_s=60)
        job = store.insert_job(
            tx,
            public_id=self._ids.public(JOB),
            request=request,
            address_hash=address_hash,
            eval_amount_msat=msat(self._terms.eval_fee_sats),
            prepaid=quote is not None,
        )
        self._events.append(tx, job.owner, "created", moved=("", job.state))
        terms = Terms(Purpose.EVAL, job.eval_amount_msat, EVAL_MEMO, self._terms.invoice_expiry_s)
        if quote is not None:
            store.record_estimate(tx, job.id, quote.estimate)
            amount_msat = job.eval_amount_msat + quote.estimate.amount_msat
            terms = replace(terms, amount_msat=amount_msat, memo=PREPAID_MEMO, price=quote.price)
        self._invoices.intend(tx, job.owner, terms)
        self._work.start(tx, StepRef(JOB, job.id, JobStep.OPEN_EVAL_INVOICE))
        return job

    def _opened(self, job_id: int) -> JobView | None:
        with self._database.transaction() as tx:
            job = store.job(tx, job_id)
            view = None if job is None else self._view(tx, job)
        if view is not None and view.eval_invoice is not None:
            return view
        if view is not None and view.job.state is JobState.FAILED:
            raise DeadlinePassed(NO_INVOICE, retry_after_s=5)
        return None

    def _abandon(self, job: Job) -> JobView:
        """Take the job back, unless its invoice came in at the last moment."""
        with self._database.transaction() as tx:
            current = store.lock_job(tx, job.id) or job
            view = self._view(tx, current)
            if view.eval_invoice is not None and current.state is not JobState.FAILED:
                return view
            if current.state is JobState.AWAITING_EVAL_PAYMENT:
                with failpoint("job.abandon"):
                    self._life.move(tx, current, JobEvent.ABANDONED, error_message=NO_INVOICE)
                    self._withdraw(tx, current)
        raise DeadlinePassed(NO_INVOICE, retry_after_s=5)

    def _withdraw(self, tx: Tx, job: Job) -> None:
        for invoice in self._invoices.of_owner(tx, job.owner).values():
            self._invoices.withdraw(tx, invoice)

    def _address_hash(self, address: str) -> bytes:
        return derive(self._secret_key, "address", address.encode())

    # -- views

    def _ended(self, public_id: str) -> JobView | None:
        view = self._view_by_public_id(public_id)
        return view if view.job.state in ENDED else None

    def _view_by_public_id(self, public_id: str) -> JobView:
        if not is_public(public_id, JOB):
            raise NotFound("job not found")
        with self._database.transaction() as tx:
            job = store.job_by_public_id(tx, public_id)
            if job is None:
                raise NotFound("job not found")
            return self._view(tx, job)

    def _view(self, tx: Tx, job: Job) -> JobView:
        invoices = self._invoices.of_owner(tx, job.owner)
        payouts = self._payouts.of_owner(tx, job.owner)
        refund_sats, is_pending = refund_of(ledger.debts(tx, job.owner))
        state = RefundState.NOT_APPLICABLE
        if refund_sats:
            state = RefundState.PENDING if is_pending else RefundState.PAID
        return JobView(
            job=job,
            eval_invoice=_invoiced(invoices.get(Purpose.EVAL)),
            work_invoice=_invoiced(invoices.get(Purpose.WORK)),
            cost=_cost(job, refund_sats=refund_sats, refund_state=state),
            refund_sats=refund_sats,
            payout=payouts[-1] if payouts else None,
            receipt_id=self._receipts.id_of(tx, job.owner) if job.state in ENDED else None,
        )


def _invoiced(invoice: Invoice | None) -> Invoiced | None:
    if invoice is None or invoice.payment_request is None:
        return None
    return Invoiced(invoice.payment_request, whole_sats(invoice.amount_msat), invoice.expires_at)


def _cost(job: Job, *, refund_sats: int, refund_state: RefundState) -> CostLedger | None:
    """The contract's cost ledger: of a complete job, and of any other ended one that is owed something."""
    if job.state is not JobState.COMPLETE and not (job.state in ENDED and refund_sats):
        return None
    estimate, actual = job.estimate, job.actual
    return CostLedger(
        tokens_in=actual.tokens_in if actual else 0,
        tokens_out=actual.tokens_out if actual else 0,
        cost_usd=actual.cost_usd if actual else ZERO,
        charge_usd=actual.charge_usd if actual else ZERO,
        estimated_cost_usd=estimate.cost_usd if estimate else ZERO,
        actual_sats=whole_sats(actual.charged_msat) if actual else 0,
        work_sats=whole_sats(job.paid_work_msat or 0),
        refund_sats=refund_sats,
        refund_state=refund_state,
        margin_pct=estimate.margin_pct if estimate else None,
        btc_price_usd=estimate.btc_price_usd if estimate else None,
    )
