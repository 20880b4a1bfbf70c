"""The published settlement table, cell by cell: each is brought about over HTTP, and ledger, answer and receipt are held to it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, TypeVar

import httpx
import pytest

from shared.agent.prompts import execution
from tests.e2e.market import EVAL_MSAT, Market, Order
from tests.e2e.patience import eventually
from tests.e2e.price_exchange import PriceExchange
from tests.e2e.purse import Balance, Purse, funded_purse, new_purse

Cell = dict[str, str]
Producer = TypeVar("Producer", bound=Callable[..., None])

JOB, REQUEST = "job", "session_request"
SATS = 100
DEPOSIT_MSAT = SATS * 1000
PRICE_USD = 100_000
SLOW = "[sim:pace:0.1] [sim:tokens:30]"
PATIENCE_S = 60.0

PRODUCERS: dict[tuple[str, str], str] = {}


def produces(situation: str, column: str) -> Callable[[Producer], Producer]:
    """Name the cell that a test brings about."""

    def note(test: Producer) -> Producer:
        assert (situation, column) not in PRODUCERS, "one test a cell"
        PRODUCERS[situation, column] = test.__name__
        return test

    return note


@pytest.fixture(scope="module")
def table(_open_market: Market) -> dict[tuple[str, str], Cell]:
    """The table as it is published."""
    published = _open_market.api.get("/v1/pricing/settlement")
    assert published.status_code == httpx.codes.OK, published.text
    rows = published.json()["table"]
    return {(row["situation"], column): row[column] for row in rows for column in (JOB, REQUEST) if row[column]}


def test_every_published_cell_is_brought_about_by_a_test_here(table: dict[tuple[str, str], Cell]) -> None:
    assert {cell: name for cell, name in PRODUCERS.items() if cell not in table} == {}
    assert [cell for cell in table if cell not in PRODUCERS] == []
    assert all(callable(globals()[name]) for name in PRODUCERS.values())


def test_the_terms_beside_the_table_are_those_that_apply(market: Market) -> None:
    terms = market.api.get("/v1/pricing/settlement").json()
    told = market.api.get("/api/estimate", params={"request": "Say something."}).json()
    assert terms["rates"]["evaluation_fee_sats"] * 1000 == told["evalSats"] * 1000 == EVAL_MSAT
    assert terms["limits"]["min_deposit_sats"] == told["minDepositSats"] == SATS
    assert terms["limits"]["max_deposit_sats"] == told["maxDepositSats"]
    assert terms["price"] == {"feeds": ["fixed"], "is_fixed": True, "max_age_s": 600}
    assert terms["refunds"]["fees_paid_by"] == "operator"
    columns = (JOB, REQUEST, "inference", "verification", "plan")
    assert all(row["text"] and any(row[column] for column in columns) for row in terms["table"])
    assert all(row[column]["text"] for row in terms["table"] for column in columns if row[column])


# -- what the codes mean


def sats_of(usd: Fraction) -> int:
    """Return the whole sats that cover `usd` at the tests' price: a millionth of a dollar up, then a sat up, at least 1."""
    micro = Fraction(ceil(usd * 1_000_000), 1_000_000)
    return max(1, ceil(micro * 100_000_000 / PRICE_USD))


def tokens_usd(tokens_in: int, tokens_out: int) -> Fraction:
    return Fraction(tokens_in * 3 + tokens_out * 15, 1_000_000)


def work_msat(tokens_in: int, tokens_out: int) -> int:
    return sats_of((tokens_usd(tokens_in, tokens_out) + Fraction(5, 1000)) * Fraction(14, 10)) * 1000


def evaluation_msat(tokens_in: int, tokens_out: int) -> int:
    return sats_of(tokens_usd(tokens_in, tokens_out) * Fraction(14, 10)) * 1000


@dataclass(frozen=True)
class Money:
    """What the codes of a job's cell stand for, millisatoshi."""

    received: int
    paid_work: int = 0
    actual_cost: int = 0

    def kept(self, code: str) -> int:
        return {
            "nothing": 0,
            "evaluation_fee": EVAL_MSAT,
            "evaluation_fee_and_actual_cost": EVAL_MSAT + self.actual_cost,
            "evaluation_fee_and_work_payment": EVAL_MSAT + self.paid_work,
        }[code]

    def owed(self, code: str, *, charged: str) -> int:
        rest = self.received - self.kept(charged)
        return {
            "nothing": 0,
            "evaluation_fee": EVAL_MSAT,
            "work_payment": self.paid_work,
            "whole_payment": self.received,
            "difference": rest,
            "debt_stays": rest,
        }[code]


def require_job(cell: Cell, order: Order, money: Money, *, receipts: int = 1) -> dict[str, Any]:
    """The job ended as the cell says: in the answer, in the ledger, in the receipt. Return the answer."""
    shown, book = order.look(), order.book
    kept, owed = money.kept(cell["charged"]), money.owed(cell["owed_back"], charged=cell["charged"])
    assert shown["state"] == cell["ends_as"]
    assert (book.received, book.held) == (money.received, 0)
    assert book.earned_eval + book.earned_work == kept == money.received - owed
    assert sum(book.owed.values()) == owed
    cost = shown.get("costLedger", {})
    assert cost.get("refundAmountSats", 0) == owed // 1000
    assert cost.get("refundState", "not_applicable") == ("pending" if owed else "not_applicable")
    found = order.receipts
    assert [(r["received_msat"], r["charged_msat"], r["owed_back_msat"]) for r in found] == (
        [(money.received, kept, owed)] * receipts
    )
    return shown


def money_of(order: Order, paid_work_msat: int, *, received_msat: int = 0) -> Money:
    """What a complete job's codes stand for, its cost reckoned here from the tokens that it used."""
    cost = order.look()["costLedger"]
    actual = work_msat(cost["actualInputTokens"], cost["actualOutputTokens"])
    return Money(received_msat or EVAL_MSAT + paid_work_msat, paid_work_msat, actual)


def require_request(cell: Cell, purse: Purse, told: dict[str, Any], *, received_msat: int = DEPOSIT_MSAT) -> None:
    """The newest request ended as the cell says, and all that was not debited is the session's balance."""
    row = purse.requests()[-1]
    judged = evaluation_msat(row["eval_tokens_in"], row["eval_tokens_out"])
    debited = {
        "nothing": 0,
        "evaluation_cost": judged,
        "actual_cost": judged + work_msat(row["tokens_in"], row["tokens_out"]),
        "reservation": row["reserved_msat"],
    }[cell["charged"]]
    assert cell["owed_back"] == "balance"
    assert told["state"] == row["state"] == cell["ends_as"]
    assert told["debitedSats"] * 1000 == debited
    assert told["balanceRemaining"] * 1000 == received_msat - debited
    assert purse.balance == Balance(received_msat, received_msat - debited, 0, debited, {})
    (receipt,) = purse.receipts()
    assert (receipt["received_msat"], receipt["charged_msat"], receipt["owed_back_msat"]) == (debited, debited, 0)
    assert receipt["receipt_id"] == told["receiptId"]


def require_session(cell: Cell, purse: Purse, *, received_msat: int) -> None:
    """The session is as the cell says, nothing was debited, and all that came in is its balance."""
    shown = purse.look()
    assert shown["state"] == cell["ends_as"]
    assert cell["charged"] == "nothing"
    assert cell["owed_back"] == ("balance" if received_msat else "nothing")
    assert shown["balanceSats"] * 1000 == received_msat
    assert purse.balance == Balance(received_msat, received_msat, 0, 0, {})
    assert purse.receipts() == []


def aim_at_work(market: Market, text: str, fault: str) -> None:
    """Have the work on this text meet `fault`, every time; its evaluation asks otherwise."""
    (system, user) = execution(text)
    market.model.fault(fault, match=f"{system.content}\n{user.content}", times=None)


def ask(purse: Purse, text: str, **headers: str) -> dict[str, Any]:
    """Have just this text done."""
    answer = purse.post("request", {"request": text}, **headers)
    assert answer.status_code == httpx.codes.OK, answer.text
    told: dict[str, Any] = answer.json()
    return told


def unique(text: str) -> str:
    return f"{text} ({uuid.uuid4().hex})"


# -- the request is invalid

INVALID: tuple[Any, ...] = ({}, {"request": ""}, {"request": " \n"}, {"request": "x" * 8001}, {"request": 7}, [])


@produces("request_invalid", JOB)
def test_an_invalid_request_creates_no_job(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    assert table["request_invalid", JOB]["ends_as"] == "not_created"
    before = market.ledger.counts()
    answers = [market.api.post("/api/jobs", json=body) for body in INVALID]
    assert {answer.status_code for answer in answers} == {httpx.codes.BAD_REQUEST}
    assert "character limit of 8000" in answers[3].json()["error"]
    after = market.ledger.counts()
    assert {name: after[name] for name in ("jobs", "invoices", "debts")} == (
        {name: before[name] for name in ("jobs", "invoices", "debts")}
    )


@produces("request_invalid", REQUEST)
def test_an_invalid_request_costs_a_session_nothing(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    cell = table["request_invalid", REQUEST]
    purse = funded_purse(market)
    answers = [purse.post("request", body) for body in INVALID]
    assert {answer.status_code for answer in answers} == {httpx.codes.BAD_REQUEST}
    assert (cell["ends_as"], purse.requests(), purse.receipts()) == ("not_created", [], [])
    assert (cell["charged"], cell["owed_back"]) == ("nothing", "balance")
    assert purse.balance == Balance(DEPOSIT_MSAT, DEPOSIT_MSAT, 0, 0, {})


# -- the evaluation refuses, or fails


@produces("evaluation_refuses", JOB)
def test_a_refused_job_costs_its_evaluation_fee(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.order("[sim:refuse]")
    order.pay_evaluation()
    order.reach("rejected")
    assert require_job(table["evaluation_refuses", JOB], order, Money(EVAL_MSAT))["reason"]


@produces("evaluation_refuses", REQUEST)
def test_a_refused_request_costs_what_judging_it_cost(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = funded_purse(market)
    told = ask(purse, unique("[sim:refuse]"))
    require_request(table["evaluation_refuses", REQUEST], purse, told)
    assert told["reason"]


@produces("evaluation_fails", JOB)
def test_a_job_that_cannot_be_judged_costs_nothing(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.order("[sim:status:400]")
    order.pay_evaluation()
    order.reach("failed", within_s=PATIENCE_S)
    require_job(table["evaluation_fails", JOB], order, Money(EVAL_MSAT))


@produces("evaluation_fails", REQUEST)
def test_a_request_that_cannot_be_judged_costs_nothing(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = funded_purse(market)
    require_request(table["evaluation_fails", REQUEST], purse, ask(purse, unique("[sim:status:400]")))


# -- nobody pays, or too late, or too much


@produces("first_invoice_expires", JOB)
def test_a_job_that_nobody_pays_for_owes_nothing(hasty_market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = hasty_market.order()
    order.reach_unasked("failed", within_s=PATIENCE_S)
    require_job(table["first_invoice_expires", JOB], order, Money(0), receipts=0)


@produces("first_invoice_expires", REQUEST)
def test_a_session_that_nobody_pays_for_owes_nothing(hasty_market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = new_purse(hasty_market, SATS)
    purse.reach_unasked("expired", within_s=PATIENCE_S)
    require_session(table["first_invoice_expires", REQUEST], purse, received_msat=0)


@produces("later_invoice_expires", JOB)
def test_an_offer_of_work_that_nobody_takes_costs_its_evaluation(
    hasty_market: Market, table: dict[tuple[str, str], Cell]
) -> None:
    order = hasty_market.accepted()
    order.reach_unasked("failed", within_s=PATIENCE_S)
    require_job(table["later_invoice_expires", JOB], order, Money(EVAL_MSAT))


@produces("later_invoice_expires", REQUEST)
def test_a_top_up_that_nobody_pays_changes_nothing(hasty_market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = funded_purse(hasty_market)
    purse.top_up()
    eventually(lambda: "pendingTopup" not in purse.look(), what="a lapse", within_s=PATIENCE_S)
    require_session(table["later_invoice_expires", REQUEST], purse, received_msat=DEPOSIT_MSAT)
    assert purse.top_up()


@produces("paid_late", JOB)
def test_a_jobs_late_payment_is_owed_back_whole(hasty_market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = hasty_market.order()
    order.reach_unasked("failed", within_s=PATIENCE_S)
    hasty_market.lightning.settle_late(order.payment_hash("eval"))
    eventually(lambda: order.book.received, what="a late credit", within_s=PATIENCE_S)
    require_job(table["paid_late", JOB], order, Money(EVAL_MSAT), receipts=0)


@produces("paid_late", REQUEST)
def test_a_sessions_late_payment_is_credited_whole(hasty_market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = new_purse(hasty_market, SATS)
    purse.reach_unasked("expired", within_s=PATIENCE_S)
    hasty_market.lightning.settle_late(purse.payment_hash("deposit"))
    purse.reach_unasked("active", within_s=PATIENCE_S)
    require_session(table["paid_late", REQUEST], purse, received_msat=DEPOSIT_MSAT)


@produces("overpaid", JOB)
def test_what_a_job_was_overpaid_is_owed_back(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.order()
    market.lightning.overpay(order.eval_request, EVAL_MSAT + 5_000)
    invoice = order.reach("awaiting_work_payment")["workInvoice"]
    paid = invoice["amountSats"] * 1000 + 7_000
    market.lightning.overpay(invoice["paymentRequest"], paid)
    order.reach("complete")
    money = money_of(order, paid, received_msat=EVAL_MSAT + 5_000 + paid)
    shown = require_job(table["overpaid", JOB], order, money)
    assert shown["costLedger"]["workAmountSats"] * 1000 == paid


@produces("overpaid", REQUEST)
def test_what_a_session_was_overpaid_is_its_balance(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = new_purse(market, SATS)
    market.lightning.overpay(purse.deposit_request, DEPOSIT_MSAT + 9_000)
    purse.reach("active")
    require_session(table["overpaid", REQUEST], purse, received_msat=DEPOSIT_MSAT + 9_000)


# -- the work fails, costs less, costs more


@produces("work_fails", JOB)
def test_work_that_fails_owes_a_job_what_was_paid_for_it(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.accepted()
    market.model.fault("status:400", match=order.mark, times=None)
    paid = order.pay_work()
    order.reach("failed", within_s=PATIENCE_S)
    require_job(table["work_fails", JOB], order, Money(EVAL_MSAT + paid, paid))


@produces("work_fails", REQUEST)
def test_work_that_fails_costs_a_session_nothing(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse, text = funded_purse(market), unique("Say something.")
    aim_at_work(market, text, "status:400")
    require_request(table["work_fails", REQUEST], purse, ask(purse, text))
    assert purse.requests()[-1]["eval_tokens_in"] > 0, "it was judged before it failed"


@produces("costs_less", JOB)
def test_a_job_pays_what_it_used_and_is_owed_the_rest(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.accepted()
    paid = order.pay_work()
    order.reach("complete")
    money = money_of(order, paid)
    assert money.actual_cost < paid
    require_job(table["costs_less", JOB], order, money)


@produces("costs_less", REQUEST)
def test_a_request_is_debited_what_it_used(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = funded_purse(market)
    told = ask(purse, unique("Say something."))
    require_request(table["costs_less", REQUEST], purse, told)
    assert told["debitedSats"] * 1000 < purse.requests()[-1]["reserved_msat"]


DENSE = "[sim:tokens:1024] " + "!?" * 3900
"""A text of one token a character, and an answer of as many tokens as are allowed: more than the estimate reckons with."""


@produces("costs_more", JOB)
def test_what_a_job_costs_beyond_its_payment_is_the_operators(
    market: Market, table: dict[tuple[str, str], Cell]
) -> None:
    order = market.accepted(DENSE)
    paid = order.pay_work()
    order.reach("complete")
    money = money_of(order, paid)
    assert money.actual_cost > paid
    require_job(table["costs_more", JOB], order, money)


@produces("costs_more", REQUEST)
def test_what_a_request_costs_beyond_its_reservation_is_the_operators(
    market: Market, table: dict[tuple[str, str], Cell]
) -> None:
    purse = funded_purse(market)
    told = ask(purse, unique(DENSE))
    row = purse.requests()[-1]
    assert work_msat(row["tokens_in"], row["tokens_out"]) > row["work_msat"]
    require_request(table["costs_more", REQUEST], purse, told)


# -- the caller leaves, the worker dies


@produces("caller_leaves", JOB)
def test_a_job_goes_on_without_its_caller(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.accepted(SLOW)
    paid = order.pay_work()
    order.reach_unasked("executing")
    leave(market, "GET", f"/api/jobs/{order.id}")
    order.reach_unasked("complete", within_s=PATIENCE_S)
    assert require_job(table["caller_leaves", JOB], order, money_of(order, paid))["result"]


@produces("caller_leaves", REQUEST)
def test_a_request_goes_on_without_its_caller(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse = funded_purse(market)
    body = {"request": unique(SLOW)}
    leave(market, "POST", f"/api/sessions/{purse.id}/request", json=body, headers=purse.credential)
    require_request(table["caller_leaves", REQUEST], purse, ended(purse))


def leave(market: Market, method: str, path: str, **what: Any) -> None:
    """Ask, and hang up before the answer is there."""
    timeout = httpx.Timeout(10, read=0.5) if method == "POST" else httpx.Timeout(10, read=0.001)
    with httpx.Client(base_url=market.stack.endpoints["web"], timeout=timeout, trust_env=False) as impatient:
        try:
            impatient.request(method, path, **what)
        except httpx.ReadTimeout:
            return
    assert method == "GET", "the answer to a slow request came at once"


def ended(purse: Purse) -> dict[str, Any]:
    """Wait for the newest request's end; return what its own address tells."""

    def told() -> dict[str, Any] | None:
        listed = purse.market.api.get(f"/api/sessions/{purse.id}/requests", headers=purse.credential).json()["requests"]
        shown: dict[str, Any] | None = listed[0] if listed else None
        return shown if shown and shown["state"] not in ("evaluating", "executing") else None

    return eventually(told, what="an end", within_s=PATIENCE_S)


@produces("worker_dies", JOB)
def test_a_job_whose_worker_dies_is_charged_once(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    order = market.accepted(SLOW)
    paid = order.pay_work()
    order.reach_unasked("executing")
    market.stack.process("worker-llm").kill()
    order.reach("complete", within_s=PATIENCE_S)
    require_job(table["worker_dies", JOB], order, money_of(order, paid))
    assert market.ledger.step(order.id, "execute")["fence"] >= 1


@produces("worker_dies", REQUEST)
def test_a_request_whose_worker_dies_is_debited_once(market: Market, table: dict[tuple[str, str], Cell]) -> None:
    purse, text = funded_purse(market), unique(SLOW)
    asking = threading.Thread(target=lambda: purse.post("request", {"request": text}))
    asking.start()
    try:
        eventually(
            lambda: [row["state"] for row in purse.requests()] == ["executing"],
            what="a request at work",
            within_s=PATIENCE_S,
        )
        market.stack.process("worker-llm").kill()
        told = ended(purse)
    finally:
        asking.join()
    require_request(table["worker_dies", REQUEST], purse, told)


# -- no price


@produces("no_price", JOB)
def test_a_job_that_cannot_be_priced_costs_nothing(
    hasty_market: Market, price_exchange: PriceExchange, table: dict[tuple[str, str], Cell]
) -> None:
    price_exchange.is_open = False
    forget_prices(hasty_market, "worker-money")
    order = hasty_market.order()
    order.pay_evaluation()
    order.reach("failed", within_s=PATIENCE_S)
    require_job(table["no_price", JOB], order, Money(EVAL_MSAT))


@produces("no_price", REQUEST)
def test_a_request_that_cannot_be_priced_is_not_taken(
    hasty_market: Market, price_exchange: PriceExchange, table: dict[tuple[str, str], Cell]
) -> None:
    cell = table["no_price", REQUEST]
    purse = funded_purse(hasty_market)
    assert purse.credential
    price_exchange.is_open = False
    forget_prices(hasty_market, "web")
    answer = purse.ask()
    assert (answer.status_code, answer.json()["code"]) == (httpx.codes.INTERNAL_SERVER_ERROR, "no_trustworthy_price")
    assert int(answer.headers["Retry-After"]) > 0
    assert (cell["ends_as"], purse.requests(), purse.receipts()) == ("not_created", [], [])
    assert (cell["charged"], cell["owed_back"]) == ("nothing", "balance")
    assert purse.balance == Balance(DEPOSIT_MSAT, DEPOSIT_MSAT, 0, 0, {})
    estimated = hasty_market.api.get("/api/estimate", params={"request": "Say something."})
    assert (estimated.status_code, estimated.json()["code"]) == (500, "no_trustworthy_price")


def forget_prices(market: Market, name: str) -> None:
    """Have a process start anew, so that it knows no price, and wait until it works."""
    sung = market.ledger.one("SELECT max(seen_at) FROM canaries WHERE queue = 'money'")
    process = market.stack.process(name)
    before = process.pid
    process.restart()
    process.await_running(other_than=before)

    def works() -> bool:
        try:
            answers = market.api.get("/health/live").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
        return answers and (name == "web" or market.ledger.one(SINGS_AGAIN, sung=sung))

    eventually(works, what=f"a new {name}", within_s=PATIENCE_S)


SINGS_AGAIN = "SELECT count(*) FROM canaries WHERE queue = 'money' AND seen_at > %(sung)s"


# -- a refund of which nobody knows


@produces("payout_unknown", JOB)
def test_a_refund_of_unknown_outcome_stays_owed_until_the_node_answers(
    market: Market, table: dict[tuple[str, str], Cell]
) -> None:
    order = market.accepted()
    paid = order.pay_work()
    sats = order.reach("complete")["costLedger"]["refundAmountSats"]
    market.lightning.fault("SendPaymentV2", "stuck_in_flight")
    first, other = (market.wallet.invoice(sats) for _ in range(2))
    claimed = claim(market, order, first)
    assert (claimed.status_code, claimed.json()["ok"]) == (httpx.codes.OK, False), claimed.text
    require_job(table["payout_unknown", JOB], order, money_of(order, paid))
    refused = claim(market, order, other)
    assert (refused.status_code, refused.json()["code"]) == (httpx.codes.CONFLICT, "payout_open")
    market.lightning.release(first["payment_hash"])
    eventually(lambda: claim(market, order, first).json()["ok"], what="a refund that arrives", within_s=PATIENCE_S)
    assert order.look()["costLedger"]["refundState"] == "paid"
    assert sum(order.book.owed.values()) == 0


def claim(market: Market, order: Order, invoice: dict[str, str]) -> httpx.Response:
    return market.api.post(f"/api/jobs/{order.id}/refund", json={"invoice": invoice["payment_request"]})


@produces("payout_unknown", REQUEST)
def test_a_withdrawal_of_unknown_outcome_stays_owed_until_the_node_answers(
    market: Market, table: dict[tuple[str, str], Cell]
) -> None:
    cell = table["payout_unknown", REQUEST]
    purse = funded_purse(market)
    market.lightning.fault("SendPaymentV2", "stuck_in_flight")
    first, other = (market.wallet.invoice(SATS) for _ in range(2))
    closed = purse.post("close", {"invoice": first["payment_request"]})
    assert (closed.status_code, closed.json()["ok"]) == (httpx.codes.OK, False), closed.text
    assert (cell["charged"], cell["owed_back"]) == ("nothing", "debt_stays")
    shown = purse.look()
    assert (shown["state"], shown["withdrawal"]["amountSats"]) == (cell["ends_as"], SATS)
    assert purse.balance == Balance(DEPOSIT_MSAT, 0, 0, 0, {"unspent": DEPOSIT_MSAT})
    refused = purse.post("close", {"invoice": other["payment_request"]})
    assert (refused.status_code, refused.json()["code"]) == (httpx.codes.CONFLICT, "payout_open")
    market.lightning.release(first["payment_hash"])
    again = {"invoice": first["payment_request"]}
    eventually(lambda: purse.post("close", again).json()["ok"], what="a withdrawal that arrives", within_s=PATIENCE_S)
    assert purse.balance == Balance(DEPOSIT_MSAT, 0, 0, 0, {})
