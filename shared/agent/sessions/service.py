"""Sessions as their holders see them: open one, look at one, add to it, ask, close. What moves them lives beside."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from datetime import datetime

from shared.access.macaroons import Macaroons
from shared.access.model import Grant
from shared.agent import store as jobs
from shared.agent.claims import NO_PROOF, Claims, Proof
from shared.agent.proof import require_paid
from shared.agent.refunds import Refunds
from shared.agent.sessions import store
from shared.agent.sessions.closing import SessionClosing
from shared.agent.sessions.life import SessionLife
from shared.agent.sessions.model import (
    LEAST_SATS,
    MOST_SATS,
    SESSION,
    Closed,
    RequestView,
    Session,
    SessionEvent,
    SessionInvoice,
    SessionState,
    SessionView,
)
from shared.agent.sessions.orders import ENDED, NOT_PAID_YET, SessionOrders
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.derive import derive
from shared.kernel.errors import Conflict, DeadlinePassed, IntegrityFault, InvalidInput, NotFound, TooMany, Unauthorized
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids, is_public
from shared.kernel.money import msat, whole_sats
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.lightning.model import INVOICE, Invoice, InvoiceState, InvoiceStep, Purpose, Terms
from shared.lightning.service import Invoices
from shared.work.model import StepRef
from shared.work.service import Work

PREFIX = "ses"
NO_INVOICE = "The invoice could not be created in time; nothing was charged."
DEPOSIT_MEMO = "Session deposit"
TOPUP_MEMO = "Session top-up"
TOPUP_PENDING_CODE = "topup_pending"
PENDING_TOPUP = "A top-up of this session waits for its payment: pay it, or let it expire."
NO_SUCH = "session not found"


@dataclass(frozen=True)
class SessionTerms:
    """What a session's invoices are bounded by. `invoice_wait_s`, `nudge_wait_s`: seconds a web call may wait."""

    max_unpaid_invoices: int
    invoice_expiry_s: int
    invoice_wait_s: float
    nudge_wait_s: float = 2.0


@dataclass(frozen=True)
class Admitted:
    """A caller's session, and what its macaroon allows."""

    session: Session
    grant: Grant


class Sessions:
    """The front desk of sessions."""

    def __init__(
        self,
        database: Database,
        *,
        terms: SessionTerms,
        session_life: SessionLife,
        session_orders: SessionOrders,
        session_closing: SessionClosing,
        refunds: Refunds,
        invoices: Invoices,
        macaroons: Macaroons,
        claims: Claims,
        events: Events,
        work: Work,
        ids: Ids,
        secret_key: bytes,
    ) -> None:
        self._database = database
        self._terms = terms
        self._session_life = session_life
        self._session_orders = session_orders
        self._session_closing = session_closing
        self._refunds = refunds
        self._invoices = invoices
        self._macaroons = macaroons
        self._claims = claims
        self._events = events
        self._work = work
        self._ids = ids
        self._secret_key = secret_key

    # -- opening and adding

    def create(self, amount_sats: int, *, address: str, claim: KeyClaim | None = None) -> SessionView:
        """Open a session and wait for its deposit's invoice; for that of the session which `claim`'s key names, if it names one.

        Raises `InvalidInput` (out of bounds), `TooMany` (unpaid invoices of this address, those of jobs among them),
        `DeadlinePassed` where no invoice came in time: the session has then ended, and nothing unseen can be paid.
        """
        require_amount(amount_sats)
        with self._database.transaction() as tx, failpoint("session.create"):
            session = self._made_before(tx, claim) or self._insert(tx, amount_sats, address)
            if claim is not None and claim.made != session.owner:
                idempotency.name(tx, claim, session.owner)
            invoice = self._deposit(tx, session)
        invoice = self._await_invoice(session, invoice)
        return replace(self._read(session.id), invoice=_shown(invoice))

    def topup(
        self, session_id: int, amount_sats: int, *, claim: KeyClaim | None = None, replaces_below_sats: int = 0
    ) -> SessionInvoice:
        """Ask for more money and wait for the invoice; for the one that `claim`'s key names, if it names one.

        One that waits for its payment and asks for less than `replaces_below_sats` is withdrawn for the new one. Raises `Conflict`
        (ended, not paid yet), `InvalidInput` (out of bounds), `Conflict` (another top-up waits for its payment), `DeadlinePassed`
        where no invoice came in time: nothing unseen can then be paid.
        """
        with self._database.transaction() as tx, failpoint("session.topup"):
            session = self._session_life.lock(tx, session_id)
            require_open(session)
            require_amount(amount_sats)
            invoice = self._topup_before(tx, session, claim)
            invoice = invoice or self._ask_for_topup(tx, session, amount_sats, replaces_below_sats)
            owner = invoice_owner(invoice)
            if claim is not None and claim.made != owner:
                idempotency.name(tx, claim, owner)
        return _shown(self._await_invoice(session, invoice))

    # -- looking

    def get(self, public_id: str, *, proof: Proof = NO_PROOF) -> SessionView:
        """Return a session with its macaroon. One that waits for a payment has the node asked first. Raises `NotFound`.

        The macaroon is there while the session can be used, and after its end as long as something can be withdrawn; where the
        operator wants proof of payment, only with `proof`.
        """
        session = self._find(public_id)
        view = self._read(session.id, proof)
        if view.invoice is not None or view.topup is not None:
            self._invoices.nudge(session.owner, patience_s=self._terms.nudge_wait_s)
            view = self._read(session.id, proof)
        return view

    def admit(self, token: str, *, public_id: str, path: str, now: datetime, preimage: bytes | None = None) -> Admitted:
        """Return the session that `token` is for, which must be the one named `public_id`. Raises `Unauthorized` for anything else.

        With a `preimage` (L402) that must be its payment's. A deposit's macaroon stands for its session before the payment too, as
        long as no preimage pretends that it was paid: the session's state then says what is missing.
        """
        with self._database.transaction() as tx:
            grant = self._macaroons.verify(tx, token, now=now, path=path)
            session = self.of_grant(tx, grant)
            if not hmac.compare_digest(session.public_id.encode(), public_id.encode()):
                raise Unauthorized("this macaroon is for another session")
            require_paid(tx, self._invoices, grant, preimage)
        return Admitted(session, grant)

    def of_grant(self, tx: Tx, grant: Grant) -> Session:
        """Return the session that a macaroon is for, whether or not its payment has arrived. Raises `Unauthorized`."""
        session = store.session_by_public_id(tx, grant.subject_id) if grant.subject == SESSION else None
        invoice = self._invoices.by_hash(tx, grant.payment_hash)
        if session is None or invoice is None or invoice.owner != session.owner:
            raise Unauthorized("this macaroon is for no session of ours")
        return session

    def claim_token(self, session: Session) -> str:
        """Return the token that proves, beside a payment's preimage, that the session is the caller's."""
        return self._claims.token(session.public_id)

    # -- asking and closing

    def request(
        self,
        session_id: int,
        text: str,
        *,
        max_sats: int | None = None,
        claim: KeyClaim | None = None,
        wait: bool = True,
    ) -> RequestView:
        """Have a request done on the session's balance (`SessionOrders.place`)."""
        return self._session_orders.place(session_id, text, max_sats=max_sats, claim=claim, wait=wait)

    def look(self, session_id: int, request_id: str) -> RequestView:
        """Return one request of the session. Raises `NotFound`."""
        return self._session_orders.look(session_id, request_id)

    def requests(self, session_id: int, *, before: str | None, most: int) -> list[RequestView]:
        """Return up to `most` requests of the session, newest first, older than the one named `before`. Raises `NotFound`."""
        return self._session_orders.newest(session_id, before=before, most=most)

    def close(self, session_id: int, payment_request: str | None) -> Closed:
        """End the session and pay out what is left (`SessionClosing.close`)."""
        return self._session_closing.close(session_id, payment_request)

    # -- creation

    def _made_before(self, tx: Tx, claim: KeyClaim | None) -> Session | None:
        """Return the session that an earlier call with the same key made, unless it was taken back unseen."""
        session = store.session(tx, claim.made.id) if claim is not None and claim.made is not None else None
        if session is None or (self._deposit(tx, session).payment_request is None and _has_ended(session)):
            return None
        return session

    def _insert(self, tx: Tx, amount_sats: int, address: str) -> Session:
        address_hash = derive(self._secret_key, "address", address.encode())
        if jobs.unpaid_of_address(tx, address_hash) >= self._terms.max_unpaid_invoices:
            raise TooMany("too many unpaid invoices from this address: pay one or let it expire", retry_after_s=60)
        amount_msat = msat(amount_sats)
        session = store.insert_session(
            tx,
            public_id=self._ids.public(PREFIX),
            address_hash=address_hash,
            deposit_msat=amount_msat,
            life_s=self._terms.invoice_expiry_s,
        )
        self._events.append(tx, session.owner, "created", moved=("", session.state))
        self._intend(tx, session, Terms(Purpose.DEPOSIT, amount_msat, DEPOSIT_MEMO, self._terms.invoice_expiry_s))
        return session

    def _topup_before(self, tx: Tx, session: Session, claim: KeyClaim | None) -> Invoice | None:
        """Return the top-up that an earlier call with the same key asked for, unless it was taken back unseen."""
        invoice = self._invoices.by_id(tx, claim.made.id) if claim is not None and claim.made is not None else None
        if invoice is None or invoice.owner != session.owner:
            return None
        return None if invoice.payment_request is None and invoice.state is InvoiceState.EXPIRED else invoice

    def _ask_for_topup(self, tx: Tx, session: Session, amount_sats: int, replaces_below_sats: int) -> Invoice:
        newest = self._invoices.by_purpose(tx, session.owner, Purpose.TOPUP)
        if newest is not None and newest.state is InvoiceState.OPEN:
            if newest.amount_msat >= msat(replaces_below_sats):
                raise Conflict(PENDING_TOPUP, code=TOPUP_PENDING_CODE)
            self._invoices.withdraw(tx, newest)
        self._events.append(tx, session.owner, "top-up asked for")
        terms = Terms(Purpose.TOPUP, msat(amount_sats), TOPUP_MEMO, self._terms.invoice_expiry_s)
        return self._intend(tx, session, terms)

    def _intend(self, tx: Tx, session: Session, terms: Terms) -> Invoice:
        invoice = self._invoices.intend(tx, session.owner, terms)
        self._work.start(tx, StepRef(INVOICE, invoice.id, InvoiceStep.OPEN))
        return invoice

    def _await_invoice(self, session: Session, invoice: Invoice) -> Invoice:
        """Return the invoice once it can be paid; take it back where that does not come in time."""
        opened = self._events.wait(
            session.owner, look=lambda: self._payable(invoice.id), deadline_s=self._terms.invoice_wait_s
        )
        return opened or self._take_back(session, invoice)

    def _payable(self, invoice_id: int) -> Invoice | None:
        with self._database.transaction() as tx:
            invoice = self._invoices.by_id(tx, invoice_id)
            session = store.session(tx, invoice.owner.id) if invoice is not None else None
        if invoice is None or invoice.payment_request is not None:
            return invoice
        if invoice.state is not InvoiceState.EXPIRED:
            return None
        if session is not None and invoice.purpose is Purpose.TOPUP:
            require_open(session)  # closed meanwhile, which took the top-up back
        raise DeadlinePassed(NO_INVOICE)

    def _take_back(self, session: Session, invoice: Invoice) -> Invoice:
        """Give the invoice up, unless it came in at the last moment."""
        with self._database.transaction() as tx:
            current = self._session_life.lock(tx, session.id)
            found = self._invoices.by_id(tx, invoice.id)
            if found is not None and found.payment_request is not None:
                return found
            with failpoint("session.abandon"):
                self._invoices.withdraw(tx, invoice)
                if current.state is SessionState.AWAITING_PAYMENT:
                    self._session_life.move(tx, current, SessionEvent.ABANDONED)
        raise DeadlinePassed(NO_INVOICE)

    # -- views

    def _find(self, public_id: str) -> Session:
        if not is_public(public_id, PREFIX):
            raise NotFound(NO_SUCH)
        with self._database.transaction() as tx:
            session = store.session_by_public_id(tx, public_id)
        if session is None:
            raise NotFound(NO_SUCH)
        return session

    def _read(self, session_id: int, proof: Proof = NO_PROOF) -> SessionView:
        with self._database.transaction() as tx:
            session = store.session(tx, session_id)
            if session is None:
                raise NotFound(NO_SUCH)
            return self._view(tx, session, proof)

    def _view(self, tx: Tx, session: Session, proof: Proof) -> SessionView:
        owner = session.owner
        deposit, topup = self._deposit(tx, session), self._invoices.by_purpose(tx, owner, Purpose.TOPUP)
        owed_sats = whole_sats(ledger.owed(tx, owner))
        payouts = self._refunds.payouts(tx, owner)
        held_msat, reserved_msat = store.balance(tx, session.id)
        is_usable = session.state in (SessionState.ACTIVE, SessionState.PAUSED) or owed_sats > 0
        is_given = is_usable and self._claims.accepts(tx, proof, owner=owner, public_id=session.public_id)
        return SessionView(
            session=session,
            balance_sats=whole_sats(held_msat),
            reserved_sats=whole_sats(reserved_msat),
            owed_sats=owed_sats,
            invoice=_shown(deposit) if session.state is SessionState.AWAITING_PAYMENT and _is_due(deposit) else None,
            topup=_shown(topup) if topup is not None and _is_due(topup) else None,
            payout=payouts[-1] if payouts else None,
            macaroon=self._macaroon(tx, session, deposit) if is_given else None,
            withheld=is_usable and not is_given,
        )

    def _macaroon(self, tx: Tx, session: Session, deposit: Invoice) -> str:
        return self._macaroons.mint(
            tx, payment_hash=deposit.payment_hash, subject=SESSION, subject_id=session.public_id
        )

    def _deposit(self, tx: Tx, session: Session) -> Invoice:
        invoice = self._invoices.by_purpose(tx, session.owner, Purpose.DEPOSIT)
        if invoice is None:
            raise IntegrityFault("a session without its deposit")
        return invoice


def require_amount(amount_sats: int) -> None:
    """Raise `InvalidInput` for a deposit or top-up that is out of bounds."""
    if not LEAST_SATS <= amount_sats <= MOST_SATS:
        raise InvalidInput(f"amount_sats must be {LEAST_SATS} to {MOST_SATS}", field="amount_sats")


def require_open(session: Session) -> None:
    """Raise `Conflict` for a session that cannot be topped up: one that has ended or is not paid yet."""
    if session.state is SessionState.EXPIRED:
        raise Conflict(ENDED, code="session_expired")
    if session.state is SessionState.AWAITING_PAYMENT:
        raise Conflict(NOT_PAID_YET, code="not_paid_yet")


def invoice_owner(invoice: Invoice) -> Owner:
    """Return a deposit's or top-up's invoice as the owner of its own steps."""
    return Owner(INVOICE, invoice.id)


def _has_ended(session: Session) -> bool:
    return session.state is SessionState.EXPIRED


def _is_due(invoice: Invoice) -> bool:
    return invoice.state is InvoiceState.OPEN and invoice.payment_request is not None


def _shown(invoice: Invoice) -> SessionInvoice:
    return SessionInvoice(
        id=invoice.id,
        payment_request=invoice.payment_request or "",
        payment_hash=invoice.payment_hash,
        amount_sats=whole_sats(invoice.amount_msat),
        expires_at=invoice.expires_at,
    )
