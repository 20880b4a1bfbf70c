"""Opening the invoice of a purchase at the node. The first and only step of its chain."""

from __future__ import annotations

from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import Unavailable
from shared.lightning.model import Opened, Purpose
from shared.lightning.service import Invoices
from shared.plans import store
from shared.plans.life import PurchaseLife
from shared.plans.model import PLAN, PurchaseEvent, PurchaseState, PurchaseStep
from shared.work.model import Claim, RetryLater, StepRef
from shared.work.service import Work

_ASK_AGAIN_S = 1.0


class PlanInvoices:
    """Has the node make the invoices of purchases payable. `expiry_s`: how long payers have."""

    def __init__(
        self,
        database: Database,
        *,
        invoices: Invoices,
        purchase_life: PurchaseLife,
        events: Events,
        work: Work,
        expiry_s: int,
    ) -> None:
        self._database = database
        self._invoices = invoices
        self._purchase_life = purchase_life
        self._events = events
        self._work = work
        self._expiry_s = expiry_s

    def open(self, purchase_id: int) -> None:
        """Create the invoice at the node. A purchase whose invoice cannot be made expires."""

        def effect(_claim: Claim) -> Opened | None:
            with self._database.transaction() as tx:
                purchase = store.purchase(tx, purchase_id)
                invoice = self._invoices.by_purpose(tx, purchase.owner, Purpose.PLAN) if purchase else None
            if purchase is None or invoice is None or purchase.state is not PurchaseState.AWAITING_PAYMENT:
                return None  # given up meanwhile
            try:
                return self._invoices.ask_node(invoice, expiry_s=self._expiry_s)
            except Unavailable as error:  # the caller waits for a while; after that the purchase is given up, or lapses
                raise RetryLater(error.message, delay_s=_ASK_AGAIN_S, counts=False) from error

        def finish(tx: Tx, answer: Opened | None) -> None:
            if answer is None:
                return
            purchase = self._purchase_life.lock(tx, purchase_id)
            if self._invoices.opened(tx, answer):
                self._events.append(tx, purchase.owner, "invoice opened")

        def give_up(tx: Tx, _reason: str) -> None:
            purchase = self._purchase_life.lock(tx, purchase_id)
            invoice = self._invoices.by_purpose(tx, purchase.owner, Purpose.PLAN)
            if purchase.state is PurchaseState.AWAITING_PAYMENT and invoice is not None:
                self._purchase_life.move(tx, purchase, PurchaseEvent.ABANDONED)
                self._invoices.withdraw(tx, invoice)

        self._work.perform(
            StepRef(PLAN, purchase_id, PurchaseStep.OPEN_INVOICE), effect=effect, finish=finish, give_up=give_up
        )
