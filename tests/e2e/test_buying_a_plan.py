"""A plan is bought from the running stack: the settlement table's column of plans, cell by cell, and whoever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest

from config.settings import Settings
from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Role, build
from shared.plans.model import PurchaseState
from tests.e2e.market import Market
from tests.e2e.patience import eventually
from tests.e2e.price_exchange import PriceExchange
from tests.e2e.test_settlement_table import forget_prices

Cell = dict[str, str]
Table = dict[str, Cell]
Producer = TypeVar("Producer", bound=Callable[..., None])

NOT_CREATED = "not_created"
PRO_MSAT = 49_000_000
PLANS = "/api/v1/plans"
PATIENCE_S = 60.0

PRODUCERS: dict[str, str] = {}


def produces(situation: str) -> Callable[[Producer], Producer]:
    """Name the cell that a test brings about."""

    def note(test: Producer) -> Producer:
        assert situation not in PRODUCERS, "one test a cell"
        PRODUCERS[situation] = test.__name__
        return test

    return note


@pytest.fixture(scope="module")
def table(_open_market: Market) -> Table:
    """The column as it is published."""
    published = _open_market.api.get("/v1/pricing/settlement").json()["table"]
    return {row["situation"]: row["plan"] for row in published if row["plan"]}


def test_every_published_cell_is_brought_about_by_a_test_here(table: Table) -> None:
    assert set(table) == set(PRODUCERS)
    assert {cell["ends_as"] for cell in table.values()} <= {NOT_CREATED, *(str(state) for state in PurchaseState)}


@dataclass(frozen=True)
class Subscriber:
    """A tenant of its own with a free key."""

    market: Market
    key: str

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call with the key."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return self.market.api.request(method, path, headers=headers, **options)

    def ask(self, tier: str = "pro") -> dict[str, Any]:
        """Ask for a plan's invoice; again while no worker makes one."""

        def asked() -> dict[str, Any] | None:
            answer = self.call("POST", f"{PLANS}/{tier}/invoice")
            if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                return None
            assert answer.status_code == httpx.codes.CREATED, answer.text
            return dict(answer.json())

        return eventually(asked, what="an invoice for a plan", within_s=PATIENCE_S)

    def look(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the purchase as the API shows it."""
        answer = self.call("GET", f"{PLANS}/invoices/{asked['id']}")
        assert answer.status_code == httpx.codes.OK, answer.text
        return dict(answer.json())

    def reach(self, asked: dict[str, Any], state: str, *, within_s: float = 20.0) -> dict[str, Any]:
        """Ask until the purchase is in `state`."""

        def arrived() -> dict[str, Any] | None:
            shown = self.look(asked)
            return shown if shown["state"] == state else None

        return eventually(arrived, what=f"a purchase that is {state}", within_s=within_s)

    def reach_unasked(self, asked: dict[str, Any], state: str) -> None:
        """Wait until the purchase is in `state` without asking the service, so that no GET nudges it."""
        eventually(lambda: self.state(asked) == state, what=f"a purchase that is {state}", within_s=PATIENCE_S)

    def usage(self) -> dict[str, Any]:
        """Return the month's figures."""
        return dict(self.call("GET", "/api/v1/usage").json())

    # -- what is written down

    def state(self, asked: dict[str, Any]) -> str:
        """Return the purchase's state, from its row."""
        return str(self._one("SELECT state FROM plan_purchases WHERE public_id = %(id)s", asked))

    def book(self, asked: dict[str, Any]) -> dict[str, int]:
        """Return the purchase's money, millisatoshi."""
        of_owner = (
            " FROM postings JOIN entries ON entries.id = entry_id WHERE entry_id IN (SELECT entry_id FROM postings WHERE"
            " owner_kind = 'plan' AND owner_id = (SELECT id FROM plan_purchases WHERE public_id = %(id)s))"
        )
        received = f"SELECT coalesce(sum(amount_msat), 0)::bigint{of_owner} AND kind = 'receive' AND account = 'node'"
        earned = f"SELECT coalesce(-sum(amount_msat), 0)::bigint{of_owner} AND account = 'revenue_plans'"
        owed = (
            "SELECT coalesce(sum(amount_msat), 0)::bigint FROM debts WHERE owner_kind = 'plan' AND state = 'open'"
            " AND owner_id = (SELECT id FROM plan_purchases WHERE public_id = %(id)s)"
        )
        found = {"received": received, "earned": earned, "owed": owed}
        return {name: int(self._one(sql, asked)) for name, sql in found.items()}

    def _one(self, sql: str, asked: dict[str, Any]) -> Any:
        return self.market.ledger.one(sql, id=asked["id"])


def subscriber(market: Market) -> Subscriber:
    """Return a new tenant. All tests call from one address, so the operator makes the key."""
    container = build(Settings.load(market.stack.environment), Role.CLI)
    try:
        issued = container.api_keys.create(mode=Mode.LIVE, tier=Tier.FREE, scopes={Scope.VERIFICATION})
    finally:
        container.database.close()
    return Subscriber(market, issued.text)


def require_cell(
    cell: Cell, buyer: Subscriber, asked: dict[str, Any], *, received_msat: int, days: int | None
) -> dict[str, Any]:
    """The purchase ended as the cell says: in the answer, in the ledger, and in what the tenant may do."""
    shown, book = buyer.look(asked), buyer.book(asked)
    kept = {"nothing": 0, "plan_price": PRO_MSAT}[cell["charged"]]
    owed = {"nothing": 0, "difference": received_msat - PRO_MSAT}[cell["owed_back"]]
    assert shown["state"] == cell["ends_as"]
    assert book == {"received": received_msat, "earned": kept, "owed": owed}
    assert shown["owed_back_sats"] == owed // 1000
    usage = buyer.usage()
    assert (usage["tier"], usage["verifications"]["limit"]) == (("pro", 1000) if days else ("free", 100))
    spans = [_moment(plan["ends_at"]) - _moment(plan["starts_at"]) for plan in usage["paid_plans"]]
    assert spans == ([timedelta(days=days)] if days else [])
    return shown


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# -- the cells


@produces("request_invalid")
def test_what_cannot_be_bought_makes_no_invoice(market: Market, table: Table) -> None:
    buyer = subscriber(market)
    before = market.ledger.counts()["invoices"]
    answers = [buyer.call("POST", f"{PLANS}/{tier}/invoice") for tier in ("free", "gold", "%20")]
    assert [answer.status_code for answer in answers] == [409, 404, 404]
    assert market.api.post(f"{PLANS}/pro/invoice").status_code == 401
    assert (table["request_invalid"]["ends_as"], market.ledger.counts()["invoices"]) == (NOT_CREATED, before)


@produces("first_invoice_expires")
def test_an_invoice_that_nobody_pays_costs_nothing(hasty_market: Market, table: Table) -> None:
    buyer = subscriber(hasty_market)
    asked = buyer.ask()
    buyer.reach_unasked(asked, "expired")
    require_cell(table["first_invoice_expires"], buyer, asked, received_msat=0, days=None)


@produces("paid_late")
def test_a_late_payment_buys_the_plan_all_the_same(hasty_market: Market, table: Table) -> None:
    buyer = subscriber(hasty_market)
    asked = buyer.ask()
    buyer.reach_unasked(asked, "expired")
    hasty_market.lightning.settle_late(asked["payment_hash"])
    buyer.reach_unasked(asked, "paid")
    require_cell(table["paid_late"], buyer, asked, received_msat=PRO_MSAT, days=30)


@produces("overpaid")
def test_what_came_above_the_price_is_paid_back(market: Market, table: Table) -> None:
    buyer = subscriber(market)
    asked = buyer.ask()
    market.lightning.overpay(asked["payment_request"], PRO_MSAT + 9_000)
    buyer.reach(asked, "paid")
    shown = require_cell(table["overpaid"], buyer, asked, received_msat=PRO_MSAT + 9_000, days=30)
    assert shown["owed_back_sats"] == 9
    invoice = {"invoice": market.wallet.invoice(9)["payment_request"]}
    path = f"{PLANS}/invoices/{asked['id']}/refund"
    told = eventually(
        lambda: (answer := buyer.call("POST", path, json=invoice).json())["ok"] and answer, what="a payment"
    )
    assert (told["amount_sats"], len(told["payment_hash"])) == (9, 64)
    paid_back = buyer.look(asked)
    assert (paid_back["owed_back_sats"], paid_back["payout"]["state"]) == (0, "paid")
    wrong = buyer.call("POST", path, json={"invoice": market.wallet.invoice(9)["payment_request"]})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (409, "already_paid")


@produces("no_price")
def test_without_a_trustworthy_price_there_is_no_invoice(
    hasty_market: Market, price_exchange: PriceExchange, table: Table
) -> None:
    buyer = subscriber(hasty_market)
    price_exchange.is_open = False
    forget_prices(hasty_market, "web")
    answer = buyer.call("POST", f"{PLANS}/pro/invoice")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert int(answer.headers["Retry-After"]) > 0
    assert table["no_price"]["ends_as"] == NOT_CREATED
    assert (buyer.usage()["tier"], buyer.usage()["paid_plans"]) == ("free", [])


# -- whoever dies


def test_a_paid_invoice_gives_the_plan_and_another_lengthens_it(market: Market) -> None:
    buyer = subscriber(market)
    for days in (30, 60):
        asked = buyer.ask()
        market.wallet.pay(asked["payment_request"])
        buyer.reach_unasked(asked, "paid")
        cell = {"ends_as": "paid", "charged": "plan_price", "owed_back": "nothing"}
        require_cell(cell, buyer, asked, received_msat=PRO_MSAT, days=days)


def test_with_listener_and_sweep_away_a_get_alone_brings_the_news(market: Market) -> None:
    buyer = subscriber(market)
    asked = buyer.ask()
    for name in ("invoices", "beat"):
        market.stack.process(name).stop(keep_down=True)
    market.wallet.pay(asked["payment_request"])
    assert buyer.reach(asked, "paid")["bought"]["tier"] == "pro"


def test_whoever_dies_between_payment_and_plan_it_is_bought_once(market: Market) -> None:
    buyer = subscriber(market)
    asked = buyer.ask()
    away = [market.stack.process(name) for name in ("invoices", "worker-money", "relay")]
    for process in away:
        process.kill()
    market.wallet.pay(asked["payment_request"])
    for process in away:
        process.start()
    buyer.reach(asked, "paid", within_s=PATIENCE_S)
    market.stack.process("invoices").restart()  # hears it again, from the stored place
    later = subscriber(market)
    news = later.ask()  # and whatever came after it
    market.wallet.pay(news["payment_request"])
    later.reach_unasked(news, "paid")
    cell = {"ends_as": "paid", "charged": "plan_price", "owed_back": "nothing"}
    require_cell(cell, buyer, asked, received_msat=PRO_MSAT, days=30)


def test_a_worker_that_dies_before_the_invoice_is_there_costs_only_time(market: Market) -> None:
    market.stack.process("worker-money").kill()
    buyer = subscriber(market)
    asked = buyer.ask("team")
    market.wallet.pay(asked["payment_request"])
    buyer.reach(asked, "paid", within_s=PATIENCE_S)
    assert buyer.usage()["requests_per_minute"] == 60
