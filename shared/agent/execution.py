"""From a paid work invoice to a result with an honest account of what it cost."""

from __future__ import annotations

from dataclasses import replace

from shared.agent import store
from shared.agent.life import Ending, JobLife
from shared.agent.model import JOB, Job, JobEvent, JobStep
from shared.agent.model_access import Answer, ModelDesk
from shared.agent.pricing import Rates, actual
from shared.db.service import Database, Tx
from shared.kernel.errors import IntegrityFault
from shared.ledger import service as ledger
from shared.ledger.model import Account, DebtReason
from shared.work.model import Claim, StepRef
from shared.work.service import Work

WORK_FAILED = "The work could not be finished; what you paid for it is owed back."


class Execution:
    """Does the work and settles it."""

    def __init__(
        self,
        database: Database,
        *,
        life: JobLife,
        work: Work,
        models: ModelDesk,
        rates: Rates,
    ) -> None:
        self._database = database
        self._life = life
        self._work = work
        self._models = models
        self._rates = rates

    def execute(self, job_id: int) -> None:
        """Have the model do the request; charge what it used, owe back the rest. A failure owes everything back."""

        def effect(claim: Claim) -> Answer:
            with self._database.transaction() as tx:
                job = store.job(tx, job_id)
            if job is None:
                raise IntegrityFault("a step without its job")
            return self._models.do(job.request, claim, max_tokens=self._rates.max_output_tokens)

        def finish(tx: Tx, answer: Answer) -> None:
            job = self._account(tx, self._lock(tx, job_id), answer)
            ending = Ending(answer.finish_reason, ran=answer.ran, output=answer.text)
            self._life.move(tx, job, JobEvent.DONE, ending=ending)

        def give_up(tx: Tx, _reason: str) -> None:
            job = self._lock(tx, job_id)
            amount_msat = ledger.held(tx, job.owner)
            ledger.owe_back(tx, job.owner, DebtReason.WORK_FAILED, ref="work", amount_msat=amount_msat)
            self._life.move(tx, job, JobEvent.WORK_FAILED, error_message=WORK_FAILED)

        self._work.perform(StepRef(JOB, job_id, JobStep.EXECUTE), effect=effect, finish=finish, give_up=give_up)

    def _account(self, tx: Tx, job: Job, answer: Answer) -> Job:
        paid_msat = job.paid_work_msat
        if paid_msat is None or job.estimate is None:
            raise IntegrityFault("work was done that nobody paid for")
        ran = answer.ran
        spent = actual(
            self._rates, job.estimate, tokens_in=ran.tokens_in, tokens_out=ran.tokens_out, paid_msat=paid_msat
        )
        ledger.earn(tx, job.owner, Account.REVENUE_WORK, ref="work", amount_msat=spent.charged_msat)
        rest_msat = ledger.held(tx, job.owner)
        ledger.owe_back(tx, job.owner, DebtReason.UNUSED, ref="work", amount_msat=rest_msat)
        store.record_actual(tx, job.id, result=answer.text, actual=spent)
        return replace(job, actual=spent)

    def _lock(self, tx: Tx, job_id: int) -> Job:
        job = store.lock_job(tx, job_id)
        if job is None:
            raise IntegrityFault("a step without its job")
        return job
