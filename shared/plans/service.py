"""Plans as tenants buy them: ask for an invoice, look at a purchase, claim back what is owed. What a payment does lives in `funding`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.access import grants
from shared.access.model import Mode, PaidPlan, Principal, Tier
from shared.access.plans import PAID_DAYS, PLANS, Plan
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.errors import Conflict, DeadlinePassed, Forbidden, IntegrityFault, NotFound, TooMany
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids, is_public
from shared.kernel.money import charge_sats, msat, whole_sats
from shared.kernel.owner import Owner
from shared.lightning.clients.price import PriceFeeds
from shared.lightning.model import Invoice, Payable, Payout, Price, Purpose, Terms
from shared.lightning.service import Invoices
from shared.plans import store
from shared.plans.life import PurchaseLife
from shared.plans.model import PLAN, Purchase, PurchaseEvent, PurchaseState, PurchaseStep, PurchaseView
from shared.work.model import StepRef
from shared.work.service import Work

NO_INVOICE = "The invoice could not be created in time; nothing was charged."
NO_SUCH = "there is no such invoice for a plan"
MOST_LISTED = 50
NOTHING_OWED = "Nothing is owed for this invoice."


@dataclass(frozen=True)
class PlanTerms:
    """What invoices for plans are bounded by. `…_wait_s`: seconds a web call may wait."""

    max_unpaid_invoices: int
    invoice_expiry_s: int
    invoice_wait_s: float
    payout_wait_s: float
    nudge_wait_s: float = 2.0


class RefundDesk(Protocol):
    """What is asked of the desk that pays debts back (`shared/agent/refunds.py`, which says what it raises)."""

    def claimable(self, tx: Tx, owner: Owner) -> int:
        """Return the whole sats that the owner is owed and no payout has."""
        ...

    def read(self, text: str) -> Payable:
        """Return what a payment request asks for."""
        ...

    def claim(self, tx: Tx, owner: Owner, payable: Payable) -> Payout:
        """Bind all that is owed to a payout, and start it."""
        ...

    def outcome(self, payout: Payout, *, wait_s: float) -> Payout:
        """Return the payout as it stands after a while."""
        ...

    def payouts(self, tx: Tx, owner: Owner) -> list[Payout]:
        """Return the owner's payouts, oldest first."""
        ...


class Plans:
    """The front desk of plans."""

    def __init__(
        self,
        database: Database,
        *,
        terms: PlanTerms,
        purchase_life: PurchaseLife,
        invoices: Invoices,
        prices: PriceFeeds,
        refunds: RefundDesk,
        events: Events,
        work: Work,
        ids: Ids,
    ) -> None:
        self._database = database
        self._terms = terms
        self._purchase_life = purchase_life
        self._invoices = invoices
        self._prices = prices
        self._refunds = refunds
        self._events = events
        self._work = work
        self._ids = ids

    def buy(self, tier: str, principal: Principal, *, claim: KeyClaim | None = None) -> PurchaseView:
        """Ask for a plan's invoice and wait for it; for that of the purchase which `claim`'s key names, if it names one.

        Raises `NotFound` (no such plan), `Conflict` (code `plan_not_sold`), `Forbidden` (a test key), `NoTrustworthyPrice`, `TooMany`
        (unpaid invoices of this tenant), `DeadlinePassed` where no invoice came in time: nothing unseen can then be paid.
        """
        plan = _sold(tier)
        _require_live(principal)
        purchase = self._made_before(claim) or self._place(plan, principal, claim)
        deadline_s = self._terms.invoice_wait_s
        view = self._events.wait(purchase.owner, look=lambda: self._opened(purchase.id), deadline_s=deadline_s)
        return view or self._abandon(purchase)

    def get(self, public_id: str, *, principal: Principal) -> PurchaseView:
        """Return a purchase of the caller's tenant. One that waits for its payment has the node asked first.

        Raises `NotFound`, `Forbidden` for a test key.
        """
        _require_live(principal)
        purchase = self._find(public_id, principal.tenant)
        if purchase.state is PurchaseState.AWAITING_PAYMENT:
            self._invoices.nudge(purchase.owner, patience_s=self._terms.nudge_wait_s)
        return self._read(purchase.id)

    def listing(self, *, principal: Principal, before: str | None = None, most: int = 20) -> list[PurchaseView]:
        """Return up to `most` purchases of the caller's tenant, newest first, older than the one named `before`; the node is not asked.

        Raises `NotFound`, `Forbidden` for a test key.
        """
        _require_live(principal)
        older_than = self._find(before, principal.tenant).id if before is not None else None
        with self._database.transaction() as tx:
            found = store.purchases_of(tx, principal.tenant, before=older_than, most=min(most, MOST_LISTED))
            return [self._view(tx, purchase) for purchase in found]

    def paid_plans(self, tenant: str) -> list[PaidPlan]:
        """Return what the tenant has paid for and not used up."""
        with self._database.transaction() as tx:
            return grants.paid_plans(tx, tenant=tenant)

    def refund(self, public_id: str, payment_request: str, *, principal: Principal) -> Payout:
        """Have what is owed for a purchase paid to the caller's invoice, and return the payout as it stands after a while.

        The same invoice gets the same payout. Raises `NotFound`, `Conflict` (nothing owed, paid, another payout under way),
        `InvalidInput` (the invoice), `Forbidden` for a test key.
        """
        _require_live(principal)
        purchase = self._find(public_id, principal.tenant)
        with self._database.transaction() as tx:
            if not self._refunds.claimable(tx, purchase.owner) and not self._refunds.payouts(tx, purchase.owner):
                raise Conflict(NOTHING_OWED, code="nothing_owed")
        payable = self._refunds.read(payment_request)  # slow for a hostile text: only where something can be owed
        with self._database.transaction() as tx:
            self._purchase_life.lock(tx, purchase.id)
            payout = self._refunds.claim(tx, purchase.owner, payable)
        return self._refunds.outcome(payout, wait_s=self._terms.payout_wait_s)

    # -- creation

    def _made_before(self, claim: KeyClaim | None) -> Purchase | None:
        """Return the purchase that an earlier call with the same key made, unless it has expired: nobody can pay that one any more."""
        if claim is None or claim.made is None:
            return None
        with self._database.transaction() as tx:
            purchase = store.purchase(tx, claim.made.id)
        return None if purchase is None or purchase.state is PurchaseState.EXPIRED else purchase

    def _place(self, plan: Plan, principal: Principal, claim: KeyClaim | None) -> Purchase:
        """Store a purchase at the price of this moment, which its invoice locks."""
        quote = self._prices.quote()
        amount_msat = msat(charge_sats(plan.price_usd, btc_price_usd=quote.usd))
        terms = Terms(
            Purpose.PLAN,
            amount_msat,
            f"{plan.name} plan, {PAID_DAYS} days",
            self._terms.invoice_expiry_s,
            Price(quote.usd, quote.source),
        )
        with self._database.transaction() as tx, failpoint("plan.invoice"):
            if store.unpaid_of(tx, principal.tenant) >= self._terms.max_unpaid_invoices:
                raise TooMany("too many unpaid invoices: pay one or let it expire", retry_after_s=60)
            purchase = store.insert(
                tx,
                public_id=self._ids.public(PLAN),
                tenant=principal.tenant,
                api_key_id=principal.key_row,
                tier=plan.tier,
                price_usd=plan.price_usd,
            )
            self._events.append(tx, purchase.owner, "created", moved=("", purchase.state))
            self._invoices.intend(tx, purchase.owner, terms)
            self._work.start(tx, StepRef(PLAN, purchase.id, PurchaseStep.OPEN_INVOICE))
            if claim is not None:
                idempotency.name(tx, claim, purchase.owner)
        return purchase

    def _opened(self, purchase_id: int) -> PurchaseView | None:
        view = self._read(purchase_id)
        if view.purchase.state is PurchaseState.EXPIRED:
            raise DeadlinePassed(NO_INVOICE)
        is_open = view.purchase.state is PurchaseState.AWAITING_PAYMENT
        return view if view.payment_request is not None or not is_open else None

    def _abandon(self, purchase: Purchase) -> PurchaseView:
        """Take the purchase back, unless its invoice came in at the last moment."""
        with self._database.transaction() as tx:
            current = self._purchase_life.lock(tx, purchase.id)
            invoice = self._invoice(tx, current)
            if invoice.payment_request is not None and current.state is not PurchaseState.EXPIRED:
                return self._view(tx, current)
            if current.state is PurchaseState.AWAITING_PAYMENT:
                with failpoint("plan.abandon"):
                    self._purchase_life.move(tx, current, PurchaseEvent.ABANDONED)
                    self._invoices.withdraw(tx, invoice)
        raise DeadlinePassed(NO_INVOICE)

    # -- views

    def _find(self, public_id: str, tenant: str) -> Purchase:
        with self._database.transaction() as tx:
            purchase = store.by_public_id(tx, public_id) if is_public(public_id, PLAN) else None
        if purchase is None or purchase.tenant != tenant:
            raise NotFound(NO_SUCH)
        return purchase

    def _read(self, purchase_id: int) -> PurchaseView:
        with self._database.transaction() as tx:
            purchase = store.purchase(tx, purchase_id)
            if purchase is None:
                raise IntegrityFault("a purchase vanished")
            return self._view(tx, purchase)

    def _view(self, tx: Tx, purchase: Purchase) -> PurchaseView:
        invoice = self._invoice(tx, purchase)
        if invoice.price is None:
            raise IntegrityFault("an invoice for a plan without its price")
        payouts = self._refunds.payouts(tx, purchase.owner)
        is_open = purchase.state is PurchaseState.AWAITING_PAYMENT
        return PurchaseView(
            purchase=purchase,
            payment_hash=invoice.payment_hash,
            amount_sats=whole_sats(invoice.amount_msat),
            btc_price_usd=invoice.price.btc_usd,
            expires_at=invoice.expires_at,
            payment_request=invoice.payment_request if is_open else None,
            bought=grants.granted(tx, purchase_id=purchase.id),
            owed_sats=self._refunds.claimable(tx, purchase.owner),
            payout=payouts[-1] if payouts else None,
        )

    def _invoice(self, tx: Tx, purchase: Purchase) -> Invoice:
        invoice = self._invoices.by_purpose(tx, purchase.owner, Purpose.PLAN)
        if invoice is None:
            raise IntegrityFault("a purchase without its invoice")
        return invoice


def _require_live(principal: Principal) -> None:
    """Keep test keys from money, whichever of their tenant's."""
    if principal.mode is Mode.TEST:
        raise Forbidden("a test key buys nothing and is paid nothing: its calls cost nothing")


def _sold(tier: str) -> Plan:
    """Return the plan that `tier` names. Raises `NotFound`, `Conflict` for one that costs nothing."""
    plan = PLANS[Tier(tier)] if tier in PLANS else None
    if plan is None:
        raise NotFound("there is no such plan")
    if not plan.is_sold:
        raise Conflict(f"the {plan.name} plan costs nothing", code="plan_not_sold")
    return plan
