"""No trustworthy price, and a Lightning node that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest

from tests.e2e.ledger_reader import Book
from tests.e2e.market import EVAL_MSAT, Market
from tests.e2e.patience import eventually
from tests.e2e.price_exchange import PriceExchange

INVOICE_WAIT_S = 3.0
PRICE_PATIENCE_S = 6.0


@pytest.fixture(scope="module", autouse=True)
def made_too_late(_open_market: Market) -> bytes:
    """The payment hash of an invoice that the node made when its job had been refused; its withdrawal takes a while."""
    lightning = _open_market.lightning
    lightning.fault("AddInvoice", "delay", seconds=3)
    lightning.fault("AddInvoice", "unavailable")
    lightning.fault("AddInvoice", "delay", seconds=4)
    answer, _ = create(_open_market)
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    _, state, payment_hash = last_job(_open_market)
    assert state == "failed"
    assert lightning.invoice(payment_hash.hex()) is None
    eventually(lambda: lightning.invoice(payment_hash.hex()), what="the late invoice", within_s=15)
    return payment_hash


def forget_prices(market: Market) -> None:
    """A worker that starts anew knows no price: a good one would be trusted for minutes."""
    sung = market.ledger.one("SELECT seen_at FROM canaries WHERE queue = 'money'")
    market.stack.process("worker-money").restart()
    sings_again = "SELECT 1 FROM canaries WHERE queue = 'money' AND seen_at > %(sung)s"
    eventually(lambda: market.ledger.rows(sings_again, sung=sung), what="a worker that consumes")


def test_a_job_that_cannot_be_priced_fails_and_its_fee_is_owed_back(
    hasty_market: Market, price_exchange: PriceExchange
) -> None:
    price_exchange.is_open = False
    forget_prices(hasty_market)
    order = hasty_market.order()
    order.pay_evaluation()
    order.reach_unasked("evaluating")
    began = time.monotonic()
    failed = order.reach("failed", within_s=30)
    assert time.monotonic() - began >= PRICE_PATIENCE_S / 2, "the price was waited for"
    assert "could not be priced" in failed["errorMessage"]
    assert "evaluation fee is owed back" in failed["errorMessage"]
    cost = failed["costLedger"]
    assert (cost["refundAmountSats"], cost["refundState"]) == (EVAL_MSAT // 1000, "pending")
    assert order.book == Book(received=EVAL_MSAT, owed={"not_priced": EVAL_MSAT})
    (receipt,) = order.receipts
    assert (receipt["charged_msat"], receipt["owed_back_msat"]) == (0, EVAL_MSAT)


def test_a_price_that_comes_back_in_time_is_waited_for(hasty_market: Market, price_exchange: PriceExchange) -> None:
    price_exchange.is_open = False
    forget_prices(hasty_market)
    order = hasty_market.order()
    order.pay_evaluation()
    waiting = "SELECT fault FROM steps WHERE name = 'open_work_invoice' AND owner_id = %(id)s AND fault IS NOT NULL"
    row_id = hasty_market.ledger.row_id(order.id)
    eventually(lambda: hasty_market.ledger.rows(waiting, id=row_id), what="a job that waits for a price")
    assert order.look()["state"] == "evaluating"
    price_exchange.is_open = True
    order.reach("awaiting_work_payment")
    order.pay_work()
    order.reach("complete")
    locked = hasty_market.ledger.rows(
        "SELECT btc_price_usd, price_source FROM invoices WHERE purpose = 'work' AND owner_id = %(id)s", id=row_id
    )
    assert locked == [{"btc_price_usd": 100_000, "price_source": "bitstamp+coinbase+kraken"}]


def create(market: Market) -> tuple[httpx.Response, float]:
    """Create a job; return the answer and how long it took, in seconds."""
    began = time.monotonic()
    answer = market.api.post("/api/jobs", json={"request": "Say something short."})
    return answer, time.monotonic() - began


def last_job(market: Market) -> tuple[str, str, bytes]:
    """Return the newest job's public id, its state and its evaluation invoice's payment hash."""
    row = market.ledger.rows(
        """SELECT jobs.public_id, jobs.state, payment_hash FROM jobs JOIN invoices ON owner_kind = 'job' AND owner_id = jobs.id
            ORDER BY jobs.id DESC LIMIT 1"""
    )[0]
    return row["public_id"], row["state"], bytes(row["payment_hash"])


def unavailable(market: Market) -> None:
    market.lightning.fault("AddInvoice", "unavailable", times=None)


def silent(market: Market) -> None:
    market.lightning.fault("AddInvoice", "hang", times=None)


def down(market: Market) -> None:
    market.lightning.down()


@pytest.mark.parametrize("fault", [unavailable, silent, down])
def test_a_job_without_an_invoice_in_time_is_refused_and_cannot_be_paid(
    hasty_market: Market, fault: Callable[[Market], None]
) -> None:
    fault(hasty_market)
    answer, took_s = create(hasty_market)
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert isinstance(answer.json()["error"], str)
    assert int(answer.headers["Retry-After"]) >= 1
    assert INVOICE_WAIT_S * 0.9 <= took_s < INVOICE_WAIT_S + 3
    job_id, state, payment_hash = last_job(hasty_market)
    assert state == "failed"
    assert hasty_market.ledger.book(job_id) == Book()
    assert hasty_market.ledger.receipts(job_id) == []
    hasty_market.lightning.heal()

    def withdrawn() -> bool:
        invoice = hasty_market.lightning.invoice(payment_hash.hex())
        return invoice is None or invoice["state"] == "CANCELED"

    eventually(withdrawn, what="an invoice that nobody can pay")
    shown = hasty_market.api.get(f"/api/jobs/{job_id}").json()
    assert shown["state"] == "failed"
    assert "nothing was charged" in shown["errorMessage"]


def test_an_invoice_whose_answer_was_lost_is_found_again(market: Market) -> None:
    market.lightning.fault("AddInvoice", "drop_after_settle", times=None)
    invoices = len(market.lightning.invoices())
    order = market.accepted()
    order.pay_work()
    order.reach("complete")
    assert len(market.lightning.invoices()) == invoices + 2


def test_the_next_job_after_an_outage_is_served(hasty_market: Market) -> None:
    hasty_market.lightning.down()
    create(hasty_market)
    hasty_market.lightning.heal()

    def served() -> bool:
        return create(hasty_market)[0].status_code == httpx.codes.CREATED

    eventually(served, what="a job", within_s=20)
    order = hasty_market.accepted()
    order.pay_work()
    order.reach("complete")


def test_a_node_that_is_away_when_the_work_is_invoiced_is_waited_for(market: Market) -> None:
    order = market.order()
    market.lightning.fault("AddInvoice", "unavailable")
    order.pay_evaluation()
    invoice = order.reach("awaiting_work_payment")["workInvoice"]
    at_node = market.lightning.invoice(order.payment_hash("work"))
    assert at_node is not None
    expires_at = datetime.fromisoformat(invoice["expiresAt"]).timestamp()
    assert expires_at == pytest.approx(int(at_node["creation_date"]) + int(at_node["expiry"]), abs=2)
    order.pay_work()
    order.reach("complete")
    assert len(order.receipts) == 1


def test_an_invoice_that_the_node_could_give_only_late_can_still_be_paid(hasty_market: Market) -> None:
    """The node answers again within the job's patience, but later than an invoice lives: its life begins when it can be paid."""
    order = hasty_market.order()
    hasty_market.lightning.fault("AddInvoice", "unavailable")
    order.pay_evaluation()
    order.reach("awaiting_work_payment")
    order.pay_work()
    order.reach("complete")


def test_an_invoice_that_the_node_made_after_the_refusal_is_withdrawn(market: Market, made_too_late: bytes) -> None:
    def state() -> str:
        invoice = market.lightning.invoice(made_too_late.hex())
        assert invoice is not None
        return str(invoice["state"])

    eventually(lambda: state() == "CANCELED", what="its withdrawal", within_s=45)
