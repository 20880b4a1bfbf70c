"""A plan is paid for with Lightning: what arrives buys thirty days once, late as well, and what is too much is owed back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.access.model import Mode, Principal, Tier
from shared.agent.reconciliation import Reconciliation
from shared.idempotency.model import Claim as KeyClaim
from shared.idempotency.model import KeyRef
from shared.kernel.errors import Conflict, DeadlinePassed, Forbidden, NotFound, TooMany
from shared.lightning.clients.connection import LndConnection
from shared.lightning.clients.lnd_listing import LndListing
from shared.lightning.model import InvoiceState, PayoutState, Settlement
from shared.plans.model import PurchaseState
from tests.e2e.patience import at_once
from tests.integration.plans.shop import DAY, PRO_SATS, TEAM_SATS, Shop

AWAITING, PAID, EXPIRED = PurchaseState.AWAITING_PAYMENT, PurchaseState.PAID, PurchaseState.EXPIRED
EXCESS_MSAT = 7_000


def claimed(shop: Shop, key: str) -> KeyClaim:
    """Return the claim of a request under this key, as one that got no answer makes it again."""
    claim = shop.container.idempotency.begin(KeyRef("scope", key), fingerprint=b"\x01" * 32)
    assert isinstance(claim, KeyClaim)
    return claim


def days_of(shop: Shop, customer: Principal) -> list[tuple[str, float]]:
    """Return what the customer has paid for: each tier, and for how many days from its start."""
    paid = shop.container.plans.paid_plans(customer.tenant)
    return [(str(plan.tier), (plan.ends_at - plan.starts_at) / DAY) for plan in paid]


def test_a_paid_invoice_gives_the_tier_for_thirty_days_and_then_no_longer(shop: Shop) -> None:
    customer = shop.customer()
    view = shop.ask(customer)
    assert (view.purchase.state, view.amount_sats, str(view.purchase.price_usd)) == (AWAITING, PRO_SATS, "49")
    assert (view.btc_price_usd, view.bought) == (100_000, None)
    assert shop.identified(customer).tier is Tier.FREE
    shop.pay(view)
    assert shop.hear(view)
    bought = shop.look(view)
    assert (bought.purchase.state, bought.bought and bought.bought.tier) == (PAID, Tier.PRO)
    assert bought.purchase.paid_at is not None
    assert shop.identified(customer).tier is Tier.PRO
    assert days_of(shop, customer) == [("pro", 30.0)]
    assert shop.book(view) == {"earned": PRO_SATS * 1000, "held": 0}
    assert shop.moves(view) == ["awaiting_payment", "paid"]
    shop.let_pass(29.9)
    assert shop.identified(customer).tier is Tier.PRO
    shop.let_pass(0.2)
    assert shop.identified(customer).tier is Tier.FREE
    assert days_of(shop, customer) == []


def test_a_paid_plan_is_its_tenants_and_nobody_elses(shop: Shop) -> None:
    customer, other = shop.customer(), shop.customer()
    view = shop.buy(customer, "team")
    assert shop.identified(customer).tier is Tier.TEAM
    assert shop.identified(replace(customer, mode=Mode.TEST)).tier is Tier.TEAM
    assert shop.identified(other).tier is Tier.FREE
    assert shop.container.plans.get(view.purchase.public_id, principal=customer).purchase == view.purchase
    for stranger in (other, replace(other, tenant="nobody")):
        with pytest.raises(NotFound):
            shop.container.plans.get(view.purchase.public_id, principal=stranger)
    with pytest.raises(Forbidden):
        shop.container.plans.get(view.purchase.public_id, principal=replace(customer, mode=Mode.TEST))


def test_a_settlement_that_everybody_brings_buys_once(shop: Shop) -> None:
    customer = shop.customer()
    view = shop.ask(customer)
    shop.pay(view)
    news = at_once(*[lambda: shop.hear(view)] * 4)
    assert sorted(news) == [False, False, False, True]
    assert not shop.hear(view)
    assert days_of(shop, customer) == [("pro", 30.0)]
    assert shop.book(view) == {"earned": PRO_SATS * 1000, "held": 0}


def test_buying_again_lengthens_it_also_where_both_are_paid_at_the_same_moment(shop: Shop) -> None:
    customer = shop.customer()
    views = [shop.ask(customer) for _ in range(3)]
    for view in views:
        shop.pay(view)
    at_once(*[lambda view=view: shop.hear(view) for view in views])  # type: ignore[misc] # bound now
    assert days_of(shop, customer) == [("pro", 90.0)]
    shop.let_pass(89)
    assert shop.identified(customer).tier is Tier.PRO
    shop.let_pass(2)
    shop.buy(customer)
    assert days_of(shop, customer) == [("pro", 30.0)]


def test_a_lesser_plan_waits_while_a_better_one_lasts(shop: Shop) -> None:
    customer = shop.customer()
    shop.buy(customer, "pro")
    shop.let_pass(10)
    view = shop.buy(customer, "team")
    assert view.amount_sats == TEAM_SATS
    assert days_of(shop, customer) == [("team", 30.0), ("pro", 60.0)]
    assert shop.identified(customer).tier is Tier.TEAM
    shop.let_pass(29)
    assert shop.identified(customer).tier is Tier.TEAM
    shop.let_pass(2)
    assert (days_of(shop, customer), shop.identified(customer).tier) == ([("pro", 60.0)], Tier.PRO)
    shop.let_pass(18)
    assert shop.identified(customer).tier is Tier.PRO, "the twenty days that were left, the better plan's thirty later"
    shop.let_pass(2)
    assert (days_of(shop, customer), shop.identified(customer).tier) == ([], Tier.FREE)


def test_a_lesser_plan_bought_under_a_better_one_begins_where_that_ends(shop: Shop) -> None:
    customer = shop.customer()
    views = [shop.ask(customer, tier) for tier in ("team", "pro", "team")]
    for view in views:
        shop.pay(view)
        assert shop.hear(view)
    assert days_of(shop, customer) == [("team", 60.0), ("pro", 30.0)]
    better, lesser, last = (shop.look(view).bought for view in views)
    assert better is not None
    assert lesser is not None
    assert last is not None
    assert better.ends_at <= last.starts_at < last.ends_at == lesser.starts_at
    shop.let_pass(59)
    assert shop.identified(customer).tier is Tier.TEAM
    shop.let_pass(2)
    assert shop.identified(customer).tier is Tier.PRO


def test_a_plan_counts_also_where_the_clock_was_put_back_after_its_payment(shop: Shop) -> None:
    customer = shop.customer()
    shop.buy(customer)
    shop.let_pass(-1)
    assert shop.identified(customer).tier is Tier.PRO


def test_an_invoice_that_nobody_pays_expires_and_costs_nothing(shop: Shop) -> None:
    customer = shop.customer()
    view = shop.ask(customer)
    shop.lapse(view)
    ended = shop.look(view)
    assert (ended.purchase.state, ended.bought, shop.book(view)) == (EXPIRED, None, {"earned": 0, "held": 0})
    assert shop.identified(customer).tier is Tier.FREE


def test_a_payment_that_comes_late_still_buys_from_that_moment_on(shop: Shop) -> None:
    customer = shop.customer()
    view = shop.ask(customer)
    shop.lapse(view)
    shop.nodes.command("/settle-late", payment_hash=view.payment_hash.hex())
    assert shop.hear(view)
    assert not shop.hear(view)
    assert shop.moves(view) == ["awaiting_payment", "expired", "paid"]
    assert (days_of(shop, customer), shop.book(view)) == ([("pro", 30.0)], {"earned": PRO_SATS * 1000, "held": 0})


def test_what_is_paid_above_the_price_buys_the_plan_and_is_paid_back(shop: Shop) -> None:
    customer = shop.customer()
    view = shop.ask(customer)
    paid_msat = PRO_SATS * 1000 + EXCESS_MSAT
    shop.nodes.command("/overpay", payment_request=view.payment_request, amount_msat=paid_msat)
    assert shop.hear(view)
    assert shop.book(view) == {"earned": PRO_SATS * 1000, "held": 0, "overpaid": EXCESS_MSAT}
    assert (days_of(shop, customer), shop.look(view).owed_sats) == ([("pro", 30.0)], EXCESS_MSAT // 1000)
    invoice = str(shop.nodes.wallet.invoice(EXCESS_MSAT // 1000).payment_request)
    public_id = view.purchase.public_id
    payout = shop.container.plans.refund(public_id, invoice, principal=customer)
    assert payout.state is PayoutState.INTENDED, "no worker pays here"
    shop.container.disbursement.send(payout.id)
    again = shop.container.plans.refund(public_id, invoice, principal=customer)
    assert (again.id, again.state, again.amount_msat) == (payout.id, PayoutState.PAID, EXCESS_MSAT)
    assert (shop.look(view).owed_sats, shop.book(view)) == (0, {"earned": PRO_SATS * 1000, "held": 0})
    other = str(shop.nodes.wallet.invoice(1).payment_request)
    with pytest.raises(Conflict) as refused:
        shop.container.plans.refund(public_id, other, principal=customer)
    assert refused.value.code == "already_paid"


def test_what_is_paid_below_the_price_buys_nothing_and_is_owed_back_whole(shop: Shop) -> None:
    """No node settles such a payment; the books know what to do where one does."""
    customer = shop.customer()
    view = shop.ask(customer)
    less_msat = PRO_SATS * 1000 - 1
    shop.beyond_node_msat = less_msat
    assert shop.container.settlements.settle(Settlement(view.payment_hash, less_msat, shop.clock.now(), 10**6))
    assert shop.book(view) == {"earned": 0, "held": 0, "underpaid": less_msat}
    assert (shop.look(view).purchase.state, days_of(shop, customer)) == (EXPIRED, [])


def test_what_was_not_owed_is_not_paid_back_and_a_stranger_asks_in_vain(shop: Shop) -> None:
    customer = shop.customer()
    view = shop.buy(customer)
    with pytest.raises(Conflict) as refused:
        shop.container.plans.refund(view.purchase.public_id, "no invoice at all", principal=customer)
    assert refused.value.code == "nothing_owed"
    with pytest.raises(NotFound):
        shop.container.plans.refund(view.purchase.public_id, "no invoice at all", principal=shop.customer())


def test_without_an_invoice_in_time_nothing_can_be_paid_and_nothing_is_left_open(shop: Shop) -> None:
    customer = shop.customer()
    with pytest.raises(DeadlinePassed):
        shop.ask(customer, is_served=False)
    (row,) = shop.rows("SELECT state FROM plan_purchases")
    (invoice,) = shop.rows("SELECT id, state FROM invoices")
    assert (row["state"], invoice["state"]) == ("expired", "expired")
    shop.work()
    assert shop.rows("SELECT 1 FROM invoices WHERE payment_request IS NOT NULL") == []
    assert shop.rows("SELECT name FROM steps WHERE owner_kind = 'invoice'") == [{"name": "withdraw"}]


def test_a_purchase_made_under_a_key_is_found_again_whoever_died(shop: Shop) -> None:
    customer = shop.customer()
    first, second = (shop.ask(customer, claim=claimed(shop, "key")) for _ in range(2))  # no answer was kept
    assert second == first
    assert shop.rows("SELECT count(*) AS purchases FROM plan_purchases") == [{"purchases": 1}]


def test_a_key_whose_purchase_has_expired_buys_anew_and_no_dead_invoice_is_shown(shop: Shop) -> None:
    customer = shop.customer()
    first = shop.ask(customer, claim=claimed(shop, "late"))
    shop.lapse(first)
    assert shop.look(first).payment_request is None
    again = shop.ask(customer, claim=claimed(shop, "late"))
    assert (again.purchase.id > first.purchase.id, again.purchase.state) == (True, AWAITING)
    shop.pay(again)
    assert shop.hear(again)
    assert shop.look(again).payment_request is None
    found = shop.ask(customer, claim=claimed(shop, "late"))
    assert (found.purchase.id, found.purchase.state) == (again.purchase.id, PAID), "what is bought is not bought again"


def test_a_test_key_buys_nothing_and_the_free_plan_is_not_sold(shop: Shop) -> None:
    with pytest.raises(Forbidden):
        shop.ask(shop.customer(mode=Mode.TEST))
    with pytest.raises(Conflict):
        shop.ask(shop.customer(), "free")
    for unknown in ("", "PRO", "gold", "\x00"):
        with pytest.raises(NotFound):
            shop.ask(shop.customer(), unknown)
    assert shop.rows("SELECT 1 FROM plan_purchases") == []


def test_a_tenants_unpaid_invoices_are_few(shop: Shop) -> None:
    customer = shop.customer()
    first = shop.ask(customer)
    with shop.container.database.transaction() as tx:
        tx.run(
            "INSERT INTO plan_purchases (public_id, tenant, tier, price_usd)"
            " SELECT 'plan_' || n, %(tenant)s, 'pro', 49 FROM generate_series(1, 49) AS n",
            {"tenant": customer.tenant},
        )
    with pytest.raises(TooMany):
        shop.ask(customer)
    shop.pay(first)
    shop.hear(first)
    shop.ask(customer)


def test_a_get_has_the_node_asked_and_the_sweep_ends_what_nobody_paid(shop: Shop) -> None:
    customer = shop.customer()
    paid, left = shop.ask(customer), shop.ask(customer)
    shop.pay(paid)
    with shop.container.database.transaction() as tx:
        tx.run(
            "UPDATE invoices SET next_check = now(),"
            " expires_at = CASE WHEN id = %(id)s THEN now() - interval '1 minute' ELSE expires_at END",
            {"id": shop.invoice(left).id},
        )
        shop.container.invoices.start_sweep(tx)
    (sweep,) = shop.rows("SELECT id FROM sweeps")
    shop.container.invoices.find_due(sweep["id"])
    shop.container.polling.settle(sweep["id"])
    shop.container.polling.advance(sweep["id"])
    assert (shop.look(paid).purchase.state, shop.look(left).purchase.state) == (PAID, EXPIRED)
    assert (shop.invoice(paid).state, shop.invoice(left).state) == (InvoiceState.SETTLED, InvoiceState.EXPIRED)


def test_the_books_and_the_nodes_agree_and_a_missing_posting_is_named(shop: Shop) -> None:
    customer = shop.customer()
    shop.buy(customer)
    lost = shop.ask(customer)
    shop.pay(lost)
    environment = shop.nodes.ready["lnd"]
    connection = LndConnection(environment["grpc"], shop.nodes.lnd.cert_pem, environment["macaroon_payments"])
    compared = Reconciliation(
        shop.container.database,
        received=shop.container.node,
        paid=LndListing(connection),
        clock=shop.clock,
        under_way=timedelta(0),
    )
    codes = {found.code for found in compared.run().differences if lost.payment_hash.hex() in found.subject}
    assert codes == {"invoice_not_credited"}
    shop.hear(lost)
    ours = {row["payment_hash"].hex() for row in shop.rows("SELECT payment_hash FROM invoices")}
    assert not [found for found in compared.run().differences if any(name in found.subject for name in ours)]
