"""Sessions whose invoices nobody pays in time, money that comes late, a price or a node that is away."""

from __future__ import annotations

import httpx

from tests.e2e.market import Market
from tests.e2e.patience import eventually
from tests.e2e.price_exchange import PriceExchange
from tests.e2e.purse import Balance, Purse, new_purse


def funded(market: Market, amount_sats: int = 100) -> Purse:
    """A session whose deposit was paid within its few seconds."""
    purse = new_purse(market, amount_sats)
    purse.pay_deposit()
    purse.reach("active")
    assert purse.credential
    return purse


def test_a_deposit_that_nobody_pays_ends_its_session_and_one_that_comes_late_begins_it(hasty_market: Market) -> None:
    purse = new_purse(hasty_market, 150)
    purse.reach_unasked("expired")
    shown = purse.look()
    assert (shown["state"], shown["balanceSats"], shown["withdrawableSats"]) == ("expired", 0, 0)
    assert not {"macaroon", "invoice", "withdrawal"} & set(shown)

    hasty_market.lightning.settle_late(purse.payment_hash("deposit"))
    purse.reach_unasked("active", within_s=60)
    shown = purse.look()
    assert (shown["state"], shown["balanceSats"]) == ("active", 150)
    assert purse.balance == Balance(150_000, 150_000, 0, 0, {})
    assert purse.ask().json()["state"] == "complete"
    assert purse.moves == ["awaiting_payment", "expired", "active"]


def test_a_top_up_that_lapses_frees_the_way_for_another_and_is_credited_when_it_comes_late(
    hasty_market: Market,
) -> None:
    purse = funded(hasty_market)
    purse.top_up(100)
    late = purse.payment_hash("topup")

    def another() -> bool:
        return purse.post("topup", {"amount_sats": 200}).status_code == httpx.codes.OK

    eventually(another, what="a second top-up", within_s=40)
    assert purse.payment_hash("topup") != late
    hasty_market.lightning.settle_late(late)
    eventually(lambda: purse.balance.held == 200_000, what="a late credit", within_s=60)
    assert (purse.state, purse.balance.owed) == ("active", {})


def test_a_late_top_up_resumes_a_paused_session(hasty_market: Market) -> None:
    purse = funded(hasty_market)
    while purse.state == "active":
        assert purse.ask("[sim:tokens:1024]").status_code == httpx.codes.OK
    purse.top_up(100)
    eventually(lambda: "pendingTopup" not in purse.look(), what="a lapse", within_s=40)
    assert purse.state == "paused"
    hasty_market.lightning.settle_late(purse.payment_hash("topup"))
    purse.reach_unasked("active", within_s=60)


def test_no_invoice_in_time_creates_nothing_that_could_be_paid(hasty_market: Market) -> None:
    purse = funded(hasty_market)
    hasty_market.lightning.down()
    made = hasty_market.api.post("/api/sessions", json={"amount_sats": 100})
    asked = purse.post("topup", {"amount_sats": 100})
    for answer in (made, asked):
        assert (answer.status_code, answer.json()["code"]) == (httpx.codes.INTERNAL_SERVER_ERROR, "deadline_passed")
        assert int(answer.headers["Retry-After"]) > 0
    hasty_market.lightning.heal()
    (newest,) = hasty_market.ledger.rows("SELECT id, state FROM sessions ORDER BY id DESC LIMIT 1")
    assert newest["state"] == "expired"
    states = hasty_market.ledger.rows(
        "SELECT state, payment_request FROM invoices WHERE owner_kind = 'session' ORDER BY id DESC LIMIT 2"
    )
    assert states == [{"state": "expired", "payment_request": None}] * 2
    hashes = hasty_market.ledger.rows(
        "SELECT encode(payment_hash, 'hex') AS hash FROM invoices WHERE owner_kind = 'session' ORDER BY id DESC LIMIT 2"
    )
    for row in hashes:
        invoice = hasty_market.lightning.invoice(row["hash"])
        assert invoice is None or invoice["state"] == "CANCELED"
    eventually(lambda: purse.post("topup", {"amount_sats": 100}).status_code == httpx.codes.OK, what="another top-up")


def test_without_a_price_nothing_is_debited(hasty_market: Market, price_exchange: PriceExchange) -> None:
    purse = funded(hasty_market)
    price_exchange.is_open = False
    restart_web(hasty_market)  # it forgets the price that it had
    answer = purse.ask()
    assert (answer.status_code, answer.json()["code"]) == (httpx.codes.INTERNAL_SERVER_ERROR, "no_trustworthy_price")
    assert int(answer.headers["Retry-After"]) > 0
    assert purse.requests() == []
    assert purse.balance == Balance(100_000, 100_000, 0, 0, {})
    price_exchange.is_open = True
    eventually(lambda: purse.ask().status_code == httpx.codes.OK, what="an answer once there is a price")


def restart_web(market: Market) -> None:
    """Kill the web process and wait for its next life."""
    market.stack.process("web").kill()

    def answers() -> bool:
        try:
            return market.api.get("/health/live").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    eventually(answers, what="a web process", within_s=60)
