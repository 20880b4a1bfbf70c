"""What is left of the paid agent: L402, settlement, estimates, the free demo, the books."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from shared.agent.demo.client import CallCounter
from shared.agent.demo.service import Demos, DemoTerms
from shared.agent.funding import JobFunding
from shared.agent.l402 import L402Jobs, L402Terms, L402Till
from shared.agent.l402_requests import L402Requests
from shared.agent.model import JOB
from shared.agent.sessions.funding import SessionFunding
from shared.agent.sessions.model import SESSION
from shared.agent.settlement import Funding, Settlements
from shared.bootstrap.plans import PlanParts
from shared.plans.model import PLAN

if TYPE_CHECKING:
    from shared.agent.demo.demonstration import Demonstration
    from shared.agent.disbursement import Disbursement
    from shared.agent.estimating import Estimates
    from shared.agent.polling import Polling
    from shared.agent.reconciliation import Reconciliation


class AgentParts(PlanParts):
    """What is left of the paid agent: L402, settlement, estimates, the free demo, the books."""

    @cached_property
    def l402_till(self) -> L402Till:
        """Sells macaroons and takes them back."""
        return L402Till(
            self.database,
            macaroons=self.macaroons,
            invoices=self.invoices,
            events=self.events,
            clock=self.clock,
            invoice_wait_s=self.settings.invoice_wait_s,
        )

    @cached_property
    def l402_jobs(self) -> L402Jobs:
        """Jobs in one payment."""
        settings = self.settings
        return L402Jobs(
            self.database,
            till=self.l402_till,
            jobs=self.jobs,
            invoices=self.invoices,
            prices=self.prices,
            rates=self.rates,
            terms=L402Terms(settings.max_request_chars, settings.sync_wait_s),
        )

    @cached_property
    def l402_requests(self) -> L402Requests:
        """Requests out of one deposit."""
        settings = self.settings
        return L402Requests(
            self.database,
            till=self.l402_till,
            sessions=self.sessions,
            max_request_chars=settings.max_request_chars,
            deposit_sats=settings.l402_deposit_sats,
        )

    @cached_property
    def fundings(self) -> Mapping[str, Funding]:
        """What a payment means, by the kind of an invoice's owner."""
        return {
            JOB: JobFunding(events=self.events, life=self.job_life, work=self.work),
            SESSION: SessionFunding(events=self.events, session_life=self.session_life),
            PLAN: self.plan_funding,
        }

    @cached_property
    def settlements(self) -> Settlements:
        """The only way in which a settled invoice becomes money."""
        return Settlements(self.database, invoices=self.invoices, fundings=self.fundings)

    @cached_property
    def disbursement(self) -> Disbursement:
        """Pays debts."""
        from shared.agent.disbursement import Disbursement

        return Disbursement(
            self.database,
            payouts=self.payouts,
            paying=self.paying,
            fundings=self.fundings,
            events=self.events,
            work=self.work,
        )

    @cached_property
    def polling(self) -> Polling:
        """Invoice polling."""
        from shared.agent.polling import Polling

        return Polling(invoices=self.invoices, settlements=self.settlements, work=self.work, clock=self.clock)

    @cached_property
    def estimates(self) -> Estimates:
        """Costs, before anything is bought."""
        from shared.agent.estimating import Estimates

        settings = self.settings
        return Estimates(
            prices=self.prices,
            rates=self.rates,
            eval_fee_sats=settings.eval_fee_sats,
            max_request_chars=settings.max_request_chars,
            clock=self.clock,
        )

    @cached_property
    def demos(self) -> Demos:
        """The front desk of free calls."""
        settings = self.settings
        counter = CallCounter(
            self.redis_events,
            self.ids,
            limit=settings.demo_calls_per_hour,
            limit_in_all=settings.demo_calls_per_hour_in_all,
        )
        return Demos(
            self.database,
            terms=DemoTerms(settings.max_request_chars, settings.sync_wait_s),
            counter=counter,
            events=self.events,
            work=self.work,
            secret_key=settings.secret_key,
        )

    @cached_property
    def demonstration(self) -> Demonstration:
        """What workers do for free calls."""
        from shared.agent.demo.demonstration import Demonstration

        return Demonstration(
            self.database,
            events=self.events,
            work=self.work,
            models=self.models,
            max_output_tokens=self.settings.max_output_tokens,
        )

    @cached_property
    def reconciliation(self) -> Reconciliation:
        """Compares the books with the node's; needs the macaroons of both directions."""
        from shared.agent.reconciliation import Reconciliation
        from shared.lightning.clients.connection import LndConnection
        from shared.lightning.clients.lnd_listing import LndListing

        settings = self.settings
        connection = LndConnection(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_payments)
        return Reconciliation(self.database, received=self.node, paid=LndListing(connection), clock=self.clock)
