"""L402: pay first, with the credential that the payment makes good. What is bought is the paid agent's own: a prepaid job, a session.

Each call either serves or answers with a challenge: an invoice, and a macaroon bound to its payment hash. A credential is that
macaroon with the payment's preimage. What is served follows from the payment alone, so a repeated call never pays twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.access.caveats import NEEDS, PREIMAGE, written
from shared.access.macaroons import Macaroons
from shared.access.model import Grant
from shared.agent import store
from shared.agent.admission import require_admissible
from shared.agent.model import JOB, Invoiced, Job, JobView, Prepayment
from shared.agent.pricing import Rates, estimate
from shared.agent.proof import NOT_PAID, invoice_of
from shared.agent.service import NO_INVOICE, Jobs
from shared.db.service import Database
from shared.events.service import Events
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.clock import Clock
from shared.kernel.errors import DeadlinePassed, IntegrityFault, Unauthorized
from shared.kernel.money import whole_sats
from shared.kernel.owner import Owner
from shared.lightning.clients.price import PriceFeeds
from shared.lightning.model import Invoice, InvoiceState, Price, Purpose
from shared.lightning.service import Invoices

PAY_FIRST = "payment required: pay the invoice and repeat the call with its macaroon and preimage"
NOT_FOR_THIS = "this credential did not pay for this call: pay the invoice, or repeat the call that it paid for"
NEEDS_PREIMAGE = written(NEEDS, PREIMAGE)
NOT_SEEN = "the payment has not arrived yet: repeat the call in a few seconds"


@dataclass(frozen=True)
class L402Terms:
    """`max_request_chars` bounds a request; `sync_wait_s` is how long a call waits for the end of the work, in seconds."""

    max_request_chars: int
    sync_wait_s: float


@dataclass(frozen=True)
class Offered:
    """A credential as it came: the macaroon's text and the preimage."""

    token: str = field(repr=False)
    preimage: bytes = field(repr=False)


@dataclass(frozen=True)
class Call:
    """Who calls, and on the strength of what. `grant`: of a paid credential; `wait`: whether he stays until the work has ended."""

    address: str = field(repr=False)
    grant: Grant | None
    claim: KeyClaim | None
    wait: bool


@dataclass(frozen=True)
class Challenge:
    """What to pay, and the macaroon that the payment makes good. `subject_id`: the public id of what would be bought."""

    message: str
    invoice: Invoiced
    macaroon: str = field(repr=False)
    subject: str
    subject_id: str | None = field(repr=False)
    code: str = "payment_required"


class L402Till:
    """Sells macaroons and takes them back. Both waits are of a web call, in seconds."""

    def __init__(
        self,
        database: Database,
        *,
        macaroons: Macaroons,
        invoices: Invoices,
        events: Events,
        clock: Clock,
        invoice_wait_s: float,
        settling_wait_s: float = 2.0,
    ) -> None:
        self._database = database
        self._macaroons = macaroons
        self._invoices = invoices
        self._events = events
        self._clock = clock
        self._invoice_wait_s = invoice_wait_s
        self._settling_wait_s = settling_wait_s

    def taken(self, offered: Offered, path: str) -> Grant | None:
        """Return what a paid credential grants; None where its invoice has lapsed unpaid.

        A payment that the node knows of and our books do not yet is waited for. Raises `Unauthorized`.
        """
        with self._database.transaction() as tx:
            grant = self._macaroons.verify(tx, offered.token, now=self._clock.now(), path=path)
            invoice = invoice_of(tx, self._invoices, grant, offered.preimage)
        if invoice.state is InvoiceState.OPEN:
            invoice = self._settling(invoice)
        if invoice.state is InvoiceState.OPEN:
            raise Unauthorized(NOT_SEEN, code=NOT_PAID)
        return grant if invoice.state is InvoiceState.SETTLED else None

    def challenge(
        self, payment_hash: bytes, *, message: str, subject: str, subject_id: str, grant: Grant | None = None
    ) -> Challenge:
        """Return the challenge to pay this invoice; its macaroon is good only with the payment's preimage.

        What `grant` was narrowed to, the new macaroon is too, and tells no id.
        """
        inherited = [text for text in (grant.restrictions if grant else ()) if text != NEEDS_PREIMAGE]
        with self._database.transaction() as tx:
            invoice = self._invoices.by_hash(tx, payment_hash)
            if invoice is None or invoice.payment_request is None:
                raise IntegrityFault("a challenge needs an invoice that can be paid")
            macaroon = self._macaroons.mint(
                tx,
                payment_hash=payment_hash,
                subject=subject,
                subject_id=subject_id,
                restrictions=[NEEDS_PREIMAGE, *inherited],
            )
        shown = Invoiced(invoice.payment_request, whole_sats(invoice.amount_msat), invoice.expires_at)
        return Challenge(message, shown, macaroon, subject, None if grant else subject_id)

    def payable(self, owner: Owner, purpose: Purpose) -> Invoice:
        """Return the owner's open invoice as soon as the node has made it. Raises `DeadlinePassed`."""

        invoice = self._events.wait(owner, look=lambda: self.pending(owner, purpose), deadline_s=self._invoice_wait_s)
        if invoice is None:
            raise DeadlinePassed(NO_INVOICE)
        return invoice

    def pending(self, owner: Owner, purpose: Purpose) -> Invoice | None:
        """Return the owner's invoice that can be paid now."""
        with self._database.transaction() as tx:
            invoice = self._invoices.by_purpose(tx, owner, purpose)
        is_payable = invoice is not None and invoice.payment_request and invoice.state is InvoiceState.OPEN
        return invoice if is_payable else None

    def current(self, invoice: Invoice) -> Invoice:
        """Return the invoice as it stands."""
        with self._database.transaction() as tx:
            return self._invoices.by_hash(tx, invoice.payment_hash) or invoice

    def _settling(self, invoice: Invoice) -> Invoice:
        self._invoices.nudge(invoice.owner, patience_s=self._settling_wait_s)

        def look() -> Invoice | None:
            current = self.current(invoice)
            return None if current.state is InvoiceState.OPEN else current

        ended = self._events.wait(invoice.owner, look=look, deadline_s=self._settling_wait_s)
        return ended or self.current(invoice)


class L402Jobs:
    """Sells a job in one payment: the evaluation fee and the most that the work can cost, of which what is unused is owed back."""

    def __init__(
        self,
        database: Database,
        *,
        till: L402Till,
        jobs: Jobs,
        invoices: Invoices,
        prices: PriceFeeds,
        rates: Rates,
        terms: L402Terms,
    ) -> None:
        self._database = database
        self._till = till
        self._jobs = jobs
        self._invoices = invoices
        self._prices = prices
        self._rates = rates
        self._terms = terms

    def buy(self, request: str, call: Call) -> JobView | Challenge:
        """Return the job that the credential paid for, once it has ended or the wait is over; else what to pay for one.

        A credential of something else or of another request gets a new challenge. Raises `InvalidInput`, and what
        `Jobs.create_prepaid` and the price feeds raise.
        """
        require_admissible(request, max_chars=self._terms.max_request_chars)
        if call.grant is None:
            return self._sell(request, call, PAY_FIRST)
        job = self._paid_by(call.grant)
        if job is None or job.request != request:
            return self._sell(request, call, NOT_FOR_THIS)
        return self._jobs.outcome(job.public_id, wait_s=self._terms.sync_wait_s if call.wait else 0)

    def _paid_by(self, grant: Grant) -> Job | None:
        if grant.subject != JOB:
            return None
        with self._database.transaction() as tx:
            return store.job_by_public_id(tx, grant.subject_id)

    def _sell(self, request: str, call: Call, message: str) -> Challenge:
        price = self._prices.quote()
        quoted = estimate(self._rates, request_chars=len(request), btc_price_usd=price.usd)
        prepayment = Prepayment(quoted, Price(price.usd, price.source))
        job = self._jobs.create_prepaid(request, prepayment, address=call.address).job
        return self._till.challenge(
            self._payment_hash(job.owner), message=message, subject=JOB, subject_id=job.public_id
        )

    def _payment_hash(self, owner: Owner) -> bytes:
        with self._database.transaction() as tx:
            invoice = self._invoices.by_purpose(tx, owner, Purpose.EVAL)
        if invoice is None:
            raise IntegrityFault("a job without its invoice")
        return invoice.payment_hash
