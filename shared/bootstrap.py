"""The composition root: settings in, a container of working parts out. The only place where parts meet.

Parts are built on first use, so that a process imports and connects to only what its role needs: a web process never
imports grpc (a test says so), a relay never builds a model client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from config.logging import configure_logging
from config.settings import Settings, SettingsError
from shared.access.macaroons import Macaroons
from shared.agent.claims import Claims
from shared.agent.demo.client import CallCounter
from shared.agent.demo.service import Demos, DemoTerms
from shared.agent.l402 import L402Jobs, L402Terms, L402Till
from shared.agent.l402_requests import L402Requests
from shared.agent.life import JobLife
from shared.agent.pricing import Rates
from shared.agent.refunds import Refunds
from shared.agent.service import Jobs, JobTerms
from shared.agent.sessions.closing import SessionClosing
from shared.agent.sessions.funding import SessionFunding
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.orders import OrderTerms, SessionOrders
from shared.agent.sessions.service import Sessions, SessionTerms
from shared.agent.settlement import Settlements
from shared.db.migrations import require_current
from shared.db.service import Database
from shared.events.client import Bus, RedisClient, connect
from shared.events.service import Events
from shared.idempotency.service import Idempotency
from shared.kernel import failpoints
from shared.kernel.clock import Clock, SystemClock
from shared.kernel.ids import Ids
from shared.kernel.money import msat
from shared.kernel.signing import SigningKey
from shared.lightning.payouts import Payouts
from shared.lightning.service import Invoices
from shared.receipts.log import EpochRules, Log, LogSigner
from shared.receipts.model import WITNESS
from shared.receipts.reading import Reading
from shared.receipts.service import Receipts
from shared.work.service import Work, WorkLimits

if TYPE_CHECKING:
    from shared.agent.demo.demonstration import Demonstration
    from shared.agent.disbursement import Disbursement
    from shared.agent.estimating import Estimates
    from shared.agent.evaluation import Evaluation
    from shared.agent.execution import Execution
    from shared.agent.model_access import ModelDesk
    from shared.agent.polling import Polling
    from shared.agent.reconciliation import Reconciliation
    from shared.agent.sessions.openings import Openings
    from shared.agent.sessions.requests import SessionRequests
    from shared.lightning.clients.lnd import LndClient
    from shared.lightning.clients.price import PriceFeeds
    from shared.lightning.paying import Paying
    from shared.receipts.anchoring import Anchoring


class Role(StrEnum):
    """What a process is for."""

    WEB = "web"
    RELAY = "relay"
    WORKER = "worker"
    LISTENER = "invoices"
    BEAT = "beat"
    CLI = "cli"


_PARTS = {
    Role.WEB: (
        "jobs",
        "sessions",
        "claims",
        "refunds",
        "l402_jobs",
        "l402_requests",
        "demos",
        "estimates",
        "reading",
        "idempotency",
    ),
    Role.WORKER: (
        "jobs",
        "session_requests",
        "session_closing",
        "openings",
        "evaluation",
        "execution",
        "disbursement",
        "demos",
        "demonstration",
        "polling",
        "log",
        "anchoring",
        "idempotency",
        "macaroons",
    ),
    Role.RELAY: ("work",),
    Role.LISTENER: ("settlements", "node"),
    Role.BEAT: (),
    Role.CLI: (),
}
TALKS_TO_NODE = frozenset({Role.WORKER, Role.LISTENER, Role.CLI})


def build(settings: Settings, role: Role) -> Container:
    """Return the container of one process. Connects to nothing yet."""
    return Container(settings, role)


def start(environment: Mapping[str, str], role: Role) -> Container:
    """Begin a process: read settings, configure logs, arm failpoints, refuse a wrong schema.

    Raises `SystemExit` with every missing setting named, `SchemaMismatch` where the database is not at this code's schema.
    """
    try:
        settings = Settings.load(environment)
    except SettingsError as error:
        raise SystemExit("cannot start:\n  " + "\n  ".join(error.faults)) from None
    configure_logging(role=role, level=settings.log_level)
    failpoints.arm(environment.get("FAILPOINTS", ""))
    require_current(settings.database_url)
    return build(settings, role)


def start_from_environment(role: Role) -> Container:
    """Begin a process from this machine's environment, the one place that reads it."""
    return start(os.environ, role)


class Container:
    """Every part of the product, wired once."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self.settings = settings
        self.role = role
        self.clock: Clock = SystemClock()
        self.ids = Ids()

    def warm(self) -> None:
        """Build every part of this role before the first thread asks for one: two threads must not build two."""
        for name in _PARTS[self.role]:
            getattr(self, name)

    # -- engine

    @cached_property
    def database(self) -> Database:
        """The pool; opened on first use, so after any fork."""
        settings = self.settings
        return Database(
            settings.database_url, pool_size=settings.database_pool_size, application_name=f"lucid-{self.role}"
        )

    @cached_property
    def redis_events(self) -> RedisClient:
        """The database of Redis beside the broker's."""
        return connect(self.settings.redis_events_url)

    @cached_property
    def bus(self) -> Bus:
        """Announcements over Redis."""
        return Bus(self.redis_events)

    @cached_property
    def events(self) -> Events:
        """Owners' event streams."""
        return Events(self.database, self.bus, clock=self.clock)

    @cached_property
    def work(self) -> Work:
        """Steps, outbox, leases."""
        settings = self.settings
        limits = WorkLimits(settings.lease_s, settings.rescue_after_s, settings.max_attempts)
        return Work(self.database, limits, nudge=self.bus.nudge_relay)

    @cached_property
    def idempotency(self) -> Idempotency:
        """Answers stored by key."""
        return Idempotency(self.database, clock=self.clock)

    # -- proof

    @cached_property
    def receipts(self) -> Receipts:
        """The notary."""
        return Receipts(
            signer=SigningKey.from_seed(self.settings.receipt_signing_key),
            secret_key=self.settings.secret_key,
            ids=self.ids,
            clock=self.clock,
            work=self.work,
        )

    @cached_property
    def log_signer(self) -> LogSigner:
        """Signs checkpoints."""
        return LogSigner(self.settings.log_origin, self.settings.log_signing_key)

    @cached_property
    def log(self) -> Log:
        """The sequencer and the epochs."""
        settings = self.settings
        targets = (WITNESS,) if settings.witness_url else ()
        rules = EpochRules(settings.epoch_max_receipts, settings.epoch_max_age_s, targets)
        return Log(self.database, signer=self.log_signer, rules=rules, ids=self.ids, work=self.work)

    @cached_property
    def anchoring(self) -> Anchoring:
        """Has closed epochs vouched for."""
        from shared.receipts.anchoring import Anchoring
        from shared.receipts.anchors.witness import WitnessClient

        settings = self.settings
        witness = WitnessClient(settings.witness_url, settings.witness_key) if settings.witness_url else None
        return Anchoring(self.database, witness=witness, work=self.work)

    @cached_property
    def reading(self) -> Reading:
        """The public reading room of receipts and log."""
        return Reading(self.database, signer=self.log_signer, witness_key=self.settings.witness_key)

    # -- access

    @cached_property
    def macaroons(self) -> Macaroons:
        """The keeper of root keys."""
        settings = self.settings
        return Macaroons(
            secret_key=settings.secret_key,
            ids=self.ids,
            clock=self.clock,
            rotation_days=settings.macaroon_rotation_days,
        )

    # -- money

    @cached_property
    def node(self) -> LndClient:
        """The merchant's Lightning node, with the macaroon for invoices."""
        from shared.lightning.clients.lnd import LndClient

        settings = self.settings
        return LndClient(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_invoices)

    @cached_property
    def invoices(self) -> Invoices:
        """The invoice desk."""
        return Invoices(
            self.database,
            events=self.events,
            work=self.work,
            ids=self.ids,
            secret_key=self.settings.secret_key,
            network=self.settings.lnd_network,
            node=self.node if self.role in TALKS_TO_NODE else None,
        )

    @cached_property
    def prices(self) -> PriceFeeds:
        """What a bitcoin costs: one instance a process, so that all of its threads share the samples."""
        from shared.lightning.clients.price import PriceFeeds

        settings = self.settings
        return PriceFeeds(settings.btc_price_feeds, clock=self.clock, max_age_s=settings.btc_price_max_age_s)

    @cached_property
    def payouts(self) -> Payouts:
        """The rows of money out."""
        return Payouts(events=self.events, work=self.work)

    @cached_property
    def paying(self) -> Paying:
        """How they meet the node: the only part with the macaroon that pays. It connects when a payout is sent."""
        from shared.lightning.clients.lnd_payments import LndPayments
        from shared.lightning.paying import Paying, PayingRules

        settings = self.settings
        return Paying(
            self.database,
            payouts=self.payouts,
            work=self.work,
            payer=LndPayments(settings.lnd_grpc, settings.lnd_tls_cert, settings.lnd_macaroon_payments),
            clock=self.clock,
            rules=PayingRules(hold_s=settings.payout_wait_s, lease_s=settings.lease_s),
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

    # -- the paid agent

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
    def disbursement(self) -> Disbursement:
        """Pays debts."""
        from shared.agent.disbursement import Disbursement

        return Disbursement(self.database, payouts=self.payouts, paying=self.paying, events=self.events, work=self.work)

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
    def settlements(self) -> Settlements:
        """The only way in which a settled invoice becomes money."""
        return Settlements(
            self.database,
            invoices=self.invoices,
            events=self.events,
            life=self.job_life,
            funding=SessionFunding(events=self.events, session_life=self.session_life),
            work=self.work,
        )

    @cached_property
    def session_life(self) -> SessionLife:
        """Moves sessions."""
        settings = self.settings
        return SessionLife(
            events=self.events,
            invoices=self.invoices,
            minimum_msat=msat(settings.session_minimum_sats),
            idle_s=settings.session_idle_s,
        )

    @cached_property
    def session_orders(self) -> SessionOrders:
        """Takes requests on a session's balance."""
        settings = self.settings
        return SessionOrders(
            self.database,
            terms=OrderTerms(settings.max_request_chars, settings.sync_wait_s),
            session_life=self.session_life,
            prices=self.prices,
            rates=self.rates,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
            ids=self.ids,
        )

    @cached_property
    def session_closing(self) -> SessionClosing:
        """Ends sessions."""
        return SessionClosing(
            self.database,
            session_life=self.session_life,
            refunds=self.refunds,
            payout_wait_s=self.settings.payout_wait_s,
        )

    @cached_property
    def sessions(self) -> Sessions:
        """The front desk of sessions."""
        settings = self.settings
        terms = SessionTerms(settings.max_unpaid_invoices, settings.invoice_expiry_s, settings.invoice_wait_s)
        return Sessions(
            self.database,
            terms=terms,
            session_life=self.session_life,
            session_orders=self.session_orders,
            session_closing=self.session_closing,
            refunds=self.refunds,
            invoices=self.invoices,
            macaroons=self.macaroons,
            claims=self.claims,
            events=self.events,
            work=self.work,
            ids=self.ids,
            secret_key=settings.secret_key,
        )

    @cached_property
    def openings(self) -> Openings:
        """Opens the invoices of sessions."""
        from shared.agent.sessions.openings import Openings

        return Openings(
            self.database,
            invoices=self.invoices,
            session_life=self.session_life,
            events=self.events,
            work=self.work,
            expiry_s=self.settings.invoice_expiry_s,
        )

    @cached_property
    def session_requests(self) -> SessionRequests:
        """Judges and does what is asked on a session's balance."""
        from shared.agent.sessions.requests import SessionRequests

        return SessionRequests(
            self.database,
            session_life=self.session_life,
            models=self.models,
            rates=self.rates,
            invoices=self.invoices,
            receipts=self.receipts,
            events=self.events,
            work=self.work,
        )

    @cached_property
    def polling(self) -> Polling:
        """Invoice polling."""
        from shared.agent.polling import Polling

        return Polling(invoices=self.invoices, settlements=self.settlements, work=self.work, clock=self.clock)

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
