"""From a paid evaluation fee to a work invoice, or to a refusal that says why."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agent import store
from shared.agent.life import Ending, JobLife
from shared.agent.model import JOB, Estimate, Job, JobEvent, JobState, JobStep
from shared.agent.model_access import ModelDesk, Opinion
from shared.agent.pricing import Rates, estimate
from shared.agent.service import WORK_MEMO
from shared.db.service import Database, Tx
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.ledger import service as ledger
from shared.ledger.model import Account, DebtReason
from shared.lightning.clients.faults import NodeUnavailable, OutcomeUnknown
from shared.lightning.clients.lnd import InvoiceMismatch
from shared.lightning.clients.price import NoTrustworthyPrice, PriceFeeds
from shared.lightning.model import Invoice, InvoiceState, Opened, Price, Purpose, Terms
from shared.lightning.service import Invoices
from shared.work.model import Claim, LeaseLost, RetryLater, StepFailed, StepRef
from shared.work.service import Work

EVALUATION_FAILED = "The evaluation could not be finished; the evaluation fee is owed back."
PREPAID_EVALUATION_FAILED = "The evaluation could not be finished; what you paid is owed back."
NOT_PRICED = "The work could not be priced or invoiced in time; the evaluation fee is owed back."
_ASK_AGAIN_S = 5.0


@dataclass(frozen=True)
class InvoicePatience:
    """How long (seconds) a job waits for a trustworthy price and a node, and how long its invoice lives."""

    patience_s: float
    invoice_expiry_s: int


class Evaluation:
    """Judges a request and asks for the work's payment."""

    def __init__(
        self,
        database: Database,
        *,
        life: JobLife,
        work: Work,
        invoices: Invoices,
        models: ModelDesk,
        prices: PriceFeeds,
        rates: Rates,
        patience: InvoicePatience,
    ) -> None:
        self._database = database
        self._life = life
        self._work = work
        self._invoices = invoices
        self._models = models
        self._prices = prices
        self._rates = rates
        self._patience = patience

    def evaluate(self, job_id: int) -> None:
        """Have the model judge the request; a refusal ends the job, an acceptance goes on to the work invoice."""

        def effect(claim: Claim) -> Opinion:
            return self._models.judge(self._job(job_id).request, claim)

        def finish(tx: Tx, opinion: Opinion) -> None:
            job = self._lock(tx, job_id)
            ran = opinion.ran
            store.record_evaluation(
                tx, job_id, reason=opinion.reason, tokens_in=ran.tokens_in, tokens_out=ran.tokens_out
            )
            if opinion.accepted and job.prepaid:
                self._go_on_prepaid(tx, job)
                return
            if opinion.accepted:
                self._work.follow(tx, StepRef(JOB, job_id, JobStep.OPEN_WORK_INVOICE))
                return
            self._earn_fee(tx, job)
            if job.prepaid:
                rest_msat = ledger.held(tx, job.owner)
                ledger.owe_back(tx, job.owner, DebtReason.UNUSED, ref="work", amount_msat=rest_msat)
            ending = Ending("refused", ran=ran, output=opinion.reason)
            self._life.move(tx, job, JobEvent.REFUSED, reason=opinion.reason, ending=ending)

        def give_up(tx: Tx, _reason: str) -> None:
            message = PREPAID_EVALUATION_FAILED if self._lock(tx, job_id).prepaid else EVALUATION_FAILED
            self._fail(tx, job_id, JobEvent.EVALUATION_FAILED, DebtReason.EVALUATION_FAILED, message)

        self._work.perform(StepRef(JOB, job_id, JobStep.EVALUATE), effect=effect, finish=finish, give_up=give_up)

    def open_work_invoice(self, job_id: int) -> None:
        """Price the work, lock the price on the invoice, create it at the node; the fee is earned when the customer can go on."""

        def effect(claim: Claim) -> Opened:
            invoice = self._priced_invoice(job_id, claim)
            if invoice.state is not InvoiceState.OPEN:
                raise StepFailed("the work invoice ended before it was opened")
            try:
                return self._invoices.ask_node(invoice, expiry_s=self._patience.invoice_expiry_s)
            except (NodeUnavailable, OutcomeUnknown) as error:
                raise self._be_patient(claim, error.message) from error
            except InvoiceMismatch as error:  # an earlier attempt's invoice has expired at the node
                raise StepFailed(error.message) from error

        def finish(tx: Tx, answer: Opened) -> None:
            job = self._lock(tx, job_id)
            if not self._invoices.opened(tx, answer):
                raise IntegrityFault("the work invoice ended before it was opened")
            self._earn_fee(tx, job)
            self._life.move(tx, job, JobEvent.ACCEPTED)

        def give_up(tx: Tx, _reason: str) -> None:
            self._fail(tx, job_id, JobEvent.NOT_PRICED, DebtReason.NOT_PRICED, NOT_PRICED)

        step = StepRef(JOB, job_id, JobStep.OPEN_WORK_INVOICE)
        self._work.perform(step, effect=effect, finish=finish, give_up=give_up)

    def _priced_invoice(self, job_id: int, claim: Claim) -> Invoice:
        """Return the job's work invoice, priced now unless an earlier attempt has locked a price."""
        job = self._job(job_id)
        with self._database.transaction() as tx:
            earlier = self._invoices.by_purpose(tx, job.owner, Purpose.WORK)
        if earlier is not None:
            return earlier
        quote = self._quote(job, claim)
        with self._database.transaction() as tx:
            locked = self._lock(tx, job_id)
            if locked.state is not JobState.EVALUATING:
                raise LeaseLost("another owner of this step has gone on")
            earlier = self._invoices.by_purpose(tx, job.owner, Purpose.WORK)
            if earlier is not None:  # the price that it locked stands
                return earlier
            with failpoint("price.lock"):
                store.record_estimate(tx, job_id, quote[0])
                terms = Terms(Purpose.WORK, quote[0].amount_msat, WORK_MEMO, self._patience.invoice_expiry_s, quote[1])
                return self._invoices.intend(tx, locked.owner, terms)

    def _quote(self, job: Job, claim: Claim) -> tuple[Estimate, Price]:
        try:
            price = self._prices.quote()
        except NoTrustworthyPrice as error:
            raise self._be_patient(claim, error.message) from error
        quoted = estimate(self._rates, request_chars=len(job.request), btc_price_usd=price.usd)
        return quoted, Price(price.usd, price.source)

    def _be_patient(self, claim: Claim, why: str) -> RetryLater | StepFailed:
        """Waiting for a price or a node is no attempt; it ends when the customer has waited long enough."""
        if claim.age_s >= self._patience.patience_s:
            return StepFailed(why)
        return RetryLater(why, delay_s=min(_ASK_AGAIN_S, self._patience.patience_s), counts=False)

    def _go_on_prepaid(self, tx: Tx, job: Job) -> None:
        """Earn the fee; what is left of the one payment is the work's, and the work begins."""
        self._earn_fee(tx, job)
        store.record_work_payment(tx, job.id, paid_msat=ledger.held(tx, job.owner))
        self._life.move(tx, job, JobEvent.ACCEPTED_PREPAID)
        self._work.start(tx, StepRef(JOB, job.id, JobStep.EXECUTE))

    def _earn_fee(self, tx: Tx, job: Job) -> None:
        amount_msat = min(job.eval_amount_msat, ledger.held(tx, job.owner))
        ledger.earn(tx, job.owner, Account.REVENUE_EVAL, ref="eval", amount_msat=amount_msat)

    def _fail(self, tx: Tx, job_id: int, event: JobEvent, reason: DebtReason, message: str) -> None:
        job = self._lock(tx, job_id)
        ledger.owe_back(tx, job.owner, reason, ref="eval", amount_msat=ledger.held(tx, job.owner))
        self._life.move(tx, job, event, error_message=message)
        unpaid = self._invoices.by_purpose(tx, job.owner, Purpose.WORK)
        if unpaid is not None and unpaid.state is not InvoiceState.SETTLED:
            self._invoices.withdraw(tx, unpaid)

    def _job(self, job_id: int) -> Job:
        with self._database.transaction() as tx:
            job = store.job(tx, job_id)
        if job is None or job.state is not JobState.EVALUATING:
            raise IntegrityFault("a job is judged while it is evaluating")
        return job

    def _lock(self, tx: Tx, job_id: int) -> Job:
        job = store.lock_job(tx, job_id)
        if job is None:
            raise IntegrityFault("a step without its job")
        return job
