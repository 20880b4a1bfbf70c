"""Calls that race one another over money: each race is set up, run once in a random order and brought to its end.

A race draws its jitter and its circumstances from the `Random` that it is given; what it reports is what an interleaving was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from tests.e2e.market import Market, Order
from tests.e2e.patience import at_once, eventually
from tests.e2e.purse import Purse, new_purse

PATIENCE_S = 120.0
DEAR = "[sim:tokens:1024]"
DEAR_MOST_SATS = 38
"""What a short request reserves; with `DEAR` it also costs nearly that much."""
BALANCE_FOR_THREE_SATS = 3 * DEAR_MOST_SATS + 5

Calls = Sequence[Callable[[], Any]]
Invoice = dict[str, str]


@dataclass
class Told:
    """What came of one interleaving. `answers`: status and code of each call; `offered`: the payment hashes it could be paid to."""

    kind: str
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    owed_msat: int = 0
    """What has to arrive at the offered invoices, all together."""


@dataclass(frozen=True)
class Racer:
    """Sends the calls of races, each over a connection of its own, so that any of the web processes may get it."""

    market: Market
    random: Random

    def at_once(self, calls: Calls, *, spread_s: float) -> list[Any]:
        """Make all calls at the same moment, but for a random delay of each."""
        delays = [self.random.uniform(0, spread_s) for _ in calls]
        return at_once(*(_delayed(call, delay) for call, delay in zip(calls, delays, strict=True)))

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """Send one POST."""
        with _connection(self.market.stack.endpoints["web"]) as connection:
            return connection.post(path, json=body, headers=headers)

    def command(self, path: str, body: Any) -> bool:
        """Have the sandbox do something; tell whether it could."""
        control = self.market.stack.endpoints["lightning_control"]
        with _connection(control) as connection:
            return connection.post(path, json=body).is_success

    # -- refunds

    def refundable(self) -> tuple[Order, int]:
        """Buy a job that is owed something in the end: mostly one whose evaluation fails, some with a rest of their payment."""
        is_whole = self.random.random() < 0.2
        order = self.market.order("Say something short." if is_whole else "[sim:status:400]")
        order.pay_evaluation()
        if is_whole:
            order.reach("awaiting_work_payment", within_s=PATIENCE_S)
            order.pay_work()
        shown = order.reach("complete" if is_whole else "failed", within_s=PATIENCE_S)
        return order, int(shown["costLedger"]["refundAmountSats"])

    def claim(self, order: Order, invoice: Invoice) -> httpx.Response:
        """Claim a refund."""
        return self.post(f"/api/jobs/{order.id}/refund", {"invoice": invoice["payment_request"]})

    def require_one_paid(self, order: Order, invoices: Sequence[Invoice], nudge: Callable[[], object]) -> None:
        """Claim with one invoice after the other until one is told to be paid; `nudge` is called before each try."""

        def one_is_paid() -> bool:
            nudge()
            return any(answer.is_success and answer.json()["ok"] for answer in (self.claim(order, i) for i in invoices))

        eventually(one_is_paid, what="a refund that is paid", within_s=PATIENCE_S)

    # -- sessions

    def purse(self, sats: int) -> Purse:
        """Open a session, pay its deposit and fetch its macaroon."""
        purse = new_purse(self.market, sats)
        purse.pay_deposit()
        purse.reach("active", within_s=PATIENCE_S)
        assert purse.credential
        return purse

    def ask(self, purse: Purse, text: str) -> httpx.Response:
        """Have a request done on the session's balance."""
        return self.post(f"/api/sessions/{purse.id}/request", {"request": text}, **purse.credential)

    def close(self, purse: Purse, invoice: Invoice | None) -> httpx.Response:
        """Close the session."""
        body = {} if invoice is None else {"invoice": invoice["payment_request"]}
        return self.post(f"/api/sessions/{purse.id}/close", body, **purse.credential)

    def take_all_out(self, purse: Purse, told: Told) -> None:
        """Close the session and withdraw until nothing is left."""

        def is_empty() -> bool:
            shown = purse.look()
            has_ended = shown["state"] == "expired"
            left = int(shown["withdrawableSats"] if has_ended else shown["balanceSats"])
            if has_ended and not left:
                return True
            invoice = self.offer(told, left) if left else None
            answer = self.close(purse, invoice)
            while answer.is_success and not answer.json()["ok"]:
                answer = self.close(purse, invoice)
            assert answer.status_code in {200, 400, 409}, answer.text
            return False

        eventually(is_empty, what="a session that is empty", within_s=PATIENCE_S)

    def offer(self, told: Told, sats: int) -> Invoice:
        """Make an invoice of the wallet."""
        made = self.market.wallet.invoice(sats)
        told.offered.append(made["payment_hash"])
        return made


# -- the races


def two_refunds(racer: Racer) -> Told:
    """Two refunds of one job to different invoices, one of them sent twice."""
    order, sats = racer.refundable()
    told = Told("two refunds", owed_msat=sats * 1000)
    one, other = racer.offer(told, sats), racer.offer(told, sats)
    calls = [lambda made=made: racer.claim(order, made) for made in (one, other, one)]
    answers = racer.at_once(calls, spread_s=racer.random.choice((0.0, 0.01, 0.1)))
    _note(told, ("one", "other", "one"), answers)
    racer.require_one_paid(order, [one, other], lambda: None)
    assert order.look()["costLedger"]["refundState"] == "paid"
    return told


UNKNOWN = {
    "cut in flight, arrives by itself": ("drop_stream", None),
    "cut in flight, arrives": ("drop_stream", "succeed"),
    "cut in flight, fails": ("drop_stream", "fail"),
    "stuck, arrives": ("stuck_in_flight", "succeed"),
    "stuck, fails": ("stuck_in_flight", "fail"),
    "handed over in vain": ("unavailable", None),
    "paid, the answer lost": ("drop_after_settle", None),
}


def refund_of_unknown_outcome(racer: Racer) -> Told:
    """Claims with the same and with other invoices while nobody knows what became of the first one's payment."""
    order, sats = racer.refundable()
    kind = racer.random.choice(sorted(UNKNOWN))
    fault, outcome = UNKNOWN[kind]
    told = Told(kind, owed_msat=sats * 1000)
    invoices = [racer.offer(told, sats) for _ in range(3)]
    first = invoices[0]["payment_hash"]
    seconds = {"seconds": racer.random.uniform(0.05, 2.0)} if outcome is None and fault == "drop_stream" else {}
    racer.market.lightning.fault("SendPaymentV2", fault, payment_hash=first, **seconds)
    ends_at = racer.random.uniform(0.0, 2.0)

    def release() -> None:
        if outcome is not None:
            racer.command("/release", {"payment_hash": first, "outcome": outcome})

    def release_later() -> None:
        threading.Event().wait(ends_at)
        release()

    names = ("first", "other", "first", "third")
    order_of_calls = (0, 1, 0, 2)
    calls = [lambda made=invoices[place]: racer.claim(order, made) for place in order_of_calls]
    answers = racer.at_once([*calls, release_later], spread_s=racer.random.choice((0.05, 0.5, 2.0)))[:-1]
    _note(told, names, answers)
    racer.require_one_paid(order, invoices, release)
    return told


def request_topup_and_close(racer: Racer) -> Told:
    """A request, a top-up that is paid at once and a close, all on one session."""
    random = racer.random
    sats = random.choice((100, 150, 300))
    purse = racer.purse(sats)
    told = Told("request, top-up and close", owed_msat=0)
    text = random.choice(("Say something short.", DEAR, "[sim:refuse]"))
    invoice = racer.offer(told, sats)
    paid: list[int] = []

    def top_up() -> httpx.Response:
        answer = racer.post(f"/api/sessions/{purse.id}/topup", {"amount_sats": 100}, **purse.credential)
        if answer.is_success and _pay(racer.market, answer.json()["topup"]["paymentRequest"]):
            paid.append(100)
        return answer

    calls: Calls = (lambda: racer.ask(purse, text), top_up, lambda: racer.close(purse, invoice))
    answers = racer.at_once(calls, spread_s=random.choice((0.0, 0.02, 0.2)))
    _note(told, ("request", "top-up", "close"), answers)
    deposited_msat = (sats + sum(paid)) * 1000
    eventually(
        lambda: purse.balance.received == deposited_msat, what="a credit for all that was paid", within_s=PATIENCE_S
    )
    racer.take_all_out(purse, told)
    told.owed_msat = deposited_msat - _require_empty(purse, deposited_msat)
    return told


def many_requests(racer: Racer) -> Told:
    """Twenty requests at once on a balance for three."""
    purse = racer.purse(BALANCE_FOR_THREE_SATS)
    told = Told("twenty requests")
    calls = [lambda: racer.ask(purse, DEAR)] * 20
    with watched(purse) as lowest:
        answers = racer.at_once(calls, spread_s=racer.random.choice((0.0, 0.01, 0.05)))
    _note(told, ["request"] * 20, answers)
    assert min(lowest) >= 0, "more was reserved or spent than was there"
    racer.take_all_out(purse, told)
    told.owed_msat = BALANCE_FOR_THREE_SATS * 1000 - _require_empty(purse, BALANCE_FOR_THREE_SATS * 1000)
    return told


@contextmanager
def watched(purse: Purse) -> Iterator[list[int]]:
    """Look at what is available, again and again, until the block ends; yields what was seen, millisatoshi."""
    over, seen = threading.Event(), [0]

    def watch() -> None:
        while not over.wait(0.02):
            balance = purse.balance
            seen.append(balance.held - balance.reserved)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _require_empty(purse: Purse, deposited_msat: int) -> int:
    """All that came in was earned or paid out; return what was earned, millisatoshi."""
    balance = purse.balance
    debited = sum(int(row["eval_msat"] + row["work_msat"]) for row in purse.requests())
    assert (balance.received, balance.held, balance.reserved, balance.owed) == (deposited_msat, 0, 0, {})
    assert balance.earned == debited
    return debited


def _connection(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False, verify=False)  # noqa: S501 - plain HTTP: no roots to load


def _delayed(call: Callable[[], Any], delay_s: float) -> Callable[[], Any]:
    def later() -> Any:
        threading.Event().wait(delay_s)
        return call()

    return later


def _note(told: Told, names: Sequence[str], answers: Sequence[httpx.Response]) -> None:
    told.answers += [
        (name, answer.status_code, str(answer.json().get("code", answer.json().get("ok", ""))))
        for name, answer in zip(names, answers, strict=True)
    ]


def _pay(market: Market, payment_request: str) -> bool:
    """Pay from the wallet; False where the invoice was taken back meanwhile."""
    try:
        market.wallet.pay(payment_request)
    except RuntimeError:
        return False
    return True
