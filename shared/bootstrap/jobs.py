"""Pay-per-job work, and money back."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.agent.claims import Claims
from shared.agent.life import JobLife
from shared.agent.pricing import Rates
from shared.agent.refunds import Refunds
from shared.agent.service import Jobs, JobTerms
from shared.bootstrap.money import Money

if TYPE_CHECKING:
    from shared.agent.evaluation import Evaluation
    from shared.agent.execution import Execution
    from shared.agent.model_access import ModelDesk


class JobParts(Money):
    """Pay-per-job work, and money back."""

    @cached_property
    def rates(self) -> Rates:
        """What work costs."""
        settings = self.settings
        return Rates(
            input_usd_per_mtok=settings.input_usd_per_mtok,
            output_usd_per_mtok=settings.output_usd_per_mtok,
            infra_usd=settings.infra_usd,
            margin_pct=settings.margin_pct,
            max_output_tokens=settings.max_output_tokens,
        )

    @cached_property
    def job_life(self) -> JobLife:
        """Moves jobs."""
        return JobLife(events=self.events, invoices=self.invoices, receipts=self.receipts)

    @cached_property
    def jobs(self) -> Jobs:
        """The front desk of jobs."""
        settings = self.settings
        terms = JobTerms(
            eval_fee_sats=settings.eval_fee_sats,
            max_request_chars=settings.max_request_chars,
            max_unpaid_invoices=settings.max_unpaid_invoices,
            invoice_expiry_s=settings.invoice_expiry_s,
            invoice_wait_s=settings.invoice_wait_s,
        )
        return Jobs(
            self.database,
            terms=terms,
            life=self.job_life,
            invoices=self.invoices,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
            ids=self.ids,
            secret_key=settings.secret_key,
            payouts=self.payouts,
        )

    @cached_property
    def claims(self) -> Claims:
        """Who may claim."""
        settings = self.settings
        return Claims(invoices=self.invoices, secret_key=settings.secret_key, are_required=settings.require_claim_proof)

    @cached_property
    def refunds(self) -> Refunds:
        """The desk where money is claimed back."""
        settings = self.settings
        return Refunds(
            self.database,
            payouts=self.payouts,
            invoices=self.invoices,
            claims=self.claims,
            events=self.events,
            clock=self.clock,
            network=settings.lnd_network,
            payout_wait_s=settings.payout_wait_s,
        )

    @cached_property
    def models(self) -> ModelDesk:
        """The upstream model behind the paid agent."""
        from shared.agent.metering import MeteredUpstream
        from shared.agent.model_access import ModelDesk

        settings = self.settings
        upstream = MeteredUpstream(
            settings.openai_base_url,
            settings.openai_api_key,
            first_token_s=settings.llm_first_token_s,
            deadline_s=settings.llm_deadline_s,
            clock=self.clock,
            database=self.database,
        )
        return ModelDesk(
            upstream,
            upstream_name=settings.openai_base_url,
            eval_model=settings.eval_model,
            work_model=settings.work_model,
            check=self.work.check,
        )

    @cached_property
    def evaluation(self) -> Evaluation:
        """From a paid fee to a work invoice."""
        from shared.agent.evaluation import Evaluation, InvoicePatience

        settings = self.settings
        return Evaluation(
            self.database,
            life=self.job_life,
            work=self.work,
            invoices=self.invoices,
            models=self.models,
            prices=self.prices,
            rates=self.rates,
            patience=InvoicePatience(settings.price_patience_s, settings.invoice_expiry_s),
        )

    @cached_property
    def execution(self) -> Execution:
        """From paid work to a result."""
        from shared.agent.execution import Execution

        return Execution(
            self.database,
            life=self.job_life,
            work=self.work,
            models=self.models,
            rates=self.rates,
        )
