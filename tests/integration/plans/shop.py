"""A shop for plans: its desk, the worker that opens its invoices, the sandbox node that hears payments, and eyes on the books."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from config.settings import Settings
from shared.access.model import Mode, Principal, Scope, Tier
from shared.bootstrap import Container, Role, build
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.clock import SystemClock
from shared.lightning.model import Invoice, InvoiceState, Purpose, Settlement
from shared.lightning.service import settlement_of
from shared.plans.model import PLAN, PurchaseView
from tests.integration.lightning.lightning_process import LightningProcess
from tests.integration.payouts.till import environment_on

PRICE_USD = 100_000
PRO_SATS = 49_000
TEAM_SATS = 149_000
DAY = timedelta(days=1)
_tenants = count(1)


class ShiftedClock(SystemClock):
    """The machine's clock, put forward by `ahead`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class Shop:
    """`container` is desk and worker at once. Nothing moves here unless a test has it done: no relay, no listener, no sweep."""

    url: str
    redis_url: str
    nodes: LightningProcess
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    beyond_node_msat: int = 0
    """What the books were told to have come and the node knows nothing of."""

    def __post_init__(self) -> None:
        environment = {
            **environment_on(self.url, self.nodes),
            "DATABASE_POOL_SIZE": "10",
            "REDIS_URL": self.redis_url,
            "REDIS_EVENTS_URL": self.redis_url,
            "BTC_PRICE_FEEDS": f"fixed={PRICE_USD}",
            "INVOICE_WAIT_S": "3",
        }
        self.container = self._container(environment)
        self.settled_before = {said.payment_hash for said in self.container.node.list_settled_after(0)}

    def close(self) -> None:
        """Close what was opened."""
        self.container.node.close()
        self.container.database.close()
        self.container.bus.close()

    # -- buying

    def customer(self, *, mode: Mode = Mode.LIVE) -> Principal:
        """Return the holder of a free key, of a tenant of its own."""
        issued = self.container.api_keys.create(
            mode=mode, tier=Tier.FREE, scopes={Scope.VERIFICATION}, tenant=f"tenant-{next(_tenants)}"
        )
        return self.container.api_keys.identify(issued.text)

    def ask(
        self, customer: Principal, tier: str = "pro", *, claim: KeyClaim | None = None, is_served: bool = True
    ) -> PurchaseView:
        """Ask for a plan's invoice, which a worker opens, unless nobody `is_served`."""
        answers: list[PurchaseView | BaseException] = []

        def ask() -> None:
            try:
                answers.append(self.container.plans.buy(tier, customer, claim=claim))
            except BaseException as error:  # noqa: BLE001 - it is raised again, in the test's own thread
                answers.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        while is_served and asking.is_alive():
            self.work()
            asking.join(0.02)
        asking.join()
        (answer,) = answers
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def work(self) -> None:
        """Open the invoices that wait for it, as a worker does."""
        waiting = "SELECT owner_id FROM steps WHERE owner_kind = 'plan' AND state = 'queued' ORDER BY id"
        for row in self.rows(waiting):
            self.container.plan_invoices.open(row["owner_id"])

    def pay(self, view: PurchaseView) -> None:
        """Have the customer's node pay; nobody hears of it yet."""
        assert view.payment_request is not None
        assert self.nodes.wallet.pay(view.payment_request).status == 2  # SUCCEEDED

    def hear(self, view: PurchaseView) -> bool:
        """Take the node's word for the payment, as listener and sweep do; tell whether it was news."""
        return self.container.settlements.settle(self.settlement(view))

    def settlement(self, view: PurchaseView) -> Settlement:
        """Return what the node says of the payment."""
        said = self.container.node.lookup_invoice(view.payment_hash)
        assert said is not None
        return settlement_of(said)

    def buy(self, customer: Principal, tier: str = "pro") -> PurchaseView:
        """Ask, pay, be heard; return the purchase then."""
        view = self.ask(customer, tier)
        self.pay(view)
        assert self.hear(view)
        return self.look(view)

    def lapse(self, view: PurchaseView) -> None:
        """What a sweep does to an invoice whose time is over."""
        invoice = self.invoice(view)
        self.container.invoices.cancel(invoice)
        self.container.settlements.lapse(invoice)

    # -- looking

    def look(self, view: PurchaseView) -> PurchaseView:
        """Return the purchase as it stands, without asking the node."""
        return self.container.plans._read(view.purchase.id)

    def invoice(self, view: PurchaseView) -> Invoice:
        """Return the purchase's invoice."""
        with self.container.database.transaction() as tx:
            found = self.container.invoices.by_purpose(tx, view.purchase.owner, Purpose.PLAN)
        assert found is not None
        return found

    def identified(self, customer: Principal) -> Principal:
        """Return what the same key is let in as now."""
        issued = self.container.api_keys.create(
            mode=customer.mode, tier=Tier.FREE, scopes=customer.scopes, tenant=customer.tenant
        )
        return self.container.api_keys.identify(issued.text)

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return what a query finds."""
        with self.container.database.transaction() as tx:
            return tx.all(sql, parameters or None)

    def book(self, view: PurchaseView) -> dict[str, int]:
        """Return what the purchase's payment became, millisatoshi by account and, of debts, by reason."""
        owner = {"kind": PLAN, "id": view.purchase.id}
        earned = self.rows(
            "SELECT -sum(amount_msat)::bigint AS msat FROM postings JOIN entries ON entries.id = entry_id"
            " WHERE account = 'revenue_plans' AND ref LIKE %(kind)s || ':' || %(id)s || ':%%'",
            **owner,
        )[0]["msat"]
        held = self.rows(
            "SELECT coalesce(-sum(amount_msat), 0)::bigint AS msat FROM postings"
            " WHERE account = 'customer' AND owner_kind = %(kind)s AND owner_id = %(id)s",
            **owner,
        )[0]["msat"]
        owed = self.rows(
            "SELECT reason, amount_msat FROM debts WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND state = 'open'",
            **owner,
        )
        return {"earned": earned or 0, "held": held, **{row["reason"]: row["amount_msat"] for row in owed}}

    def moves(self, view: PurchaseView) -> list[str]:
        """Return the states that the purchase went through, in order."""
        events = self.container.events.replay(view.purchase.owner)
        return [event.to_state for event in events if event.to_state is not None]

    def require_true_books(self) -> None:
        """No purchase holds money, every paid one has one grant, and the comparison with the node finds nothing that we did."""
        assert self.rows("SELECT entry_id FROM postings GROUP BY entry_id HAVING sum(amount_msat) <> 0") == []
        holding = """SELECT owner_id FROM postings WHERE account = 'customer' GROUP BY owner_id HAVING sum(amount_msat) <> 0"""
        assert self.rows(holding) == []
        granted = """SELECT plan_purchases.id FROM plan_purchases LEFT JOIN plan_grants ON purchase_id = plan_purchases.id
                      WHERE (state = 'paid') <> (plan_grants.id IS NOT NULL)"""
        assert self.rows(granted) == []
        booked = """SELECT coalesce(sum(amount_msat), 0)::bigint AS msat FROM postings JOIN entries ON entries.id = entry_id
                     WHERE account = 'node' AND kind = 'receive'"""
        ours = [
            said.amt_paid_msat
            for said in self.container.node.list_settled_after(0)
            if said.payment_hash not in self.settled_before and self._is_settled(said.payment_hash)
        ]
        assert self.rows(booked)[0]["msat"] == sum(ours) + self.beyond_node_msat

    def let_pass(self, days: float) -> None:
        """What time does to what was paid for."""
        with self.container.database.transaction() as tx:
            tx.run(
                "UPDATE plan_grants SET starts_at = starts_at - %(passed)s, ends_at = ends_at - %(passed)s",
                {"passed": days * DAY},
            )

    def _is_settled(self, payment_hash: bytes) -> bool:
        with self.container.database.transaction() as tx:
            invoice = self.container.invoices.by_hash(tx, payment_hash)
        return invoice is not None and invoice.state is InvoiceState.SETTLED

    def _container(self, environment: dict[str, str]) -> Container:
        built = build(Settings.load(environment), Role.WORKER)
        built.clock = self.clock
        return built
