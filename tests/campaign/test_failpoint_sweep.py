"""A process dies before and after every effect, one death each: every job that was accepted is done once all the same."""

from __future__ import annotations

import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from shared.kernel.failpoints import EFFECTS, points
from tests.campaign.audit import Auditor
from tests.campaign.customer import Customer
from tests.campaign.deaths import Deaths
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.lightning_hand import LightningHand
from tests.e2e.market import running_stack

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))

# Who passes each effect: the first dies there in every run, all of them in a soak.
PASSED_BY: dict[str, tuple[str, ...]] = {
    "db.commit": ("web", "relay", "worker-money", "worker-llm", "worker-tick", "worker-anchor", "invoices"),
    "outbox.publish": ("relay",),
    "bus.announce": ("invoices", "web", "worker-money", "worker-llm", "worker-tick"),
    "step.claim": ("worker-llm", "worker-money", "worker-anchor"),
    "step.finish": ("worker-llm", "worker-money", "worker-anchor"),
    "tick.turn": ("worker-tick", "worker-money"),
    "job.create": ("web",),
    "job.abandon": ("web",),
    "lnd.add_invoice": ("worker-money",),
    "lnd.lookup_invoice": ("worker-money",),
    "lnd.cancel_invoice": ("worker-money",),
    "price.quote": ("worker-money",),
    "price.lock": ("worker-money",),
    "llm.complete": ("worker-llm",),
    "invoice.settle": ("invoices", "worker-money"),
    "invoice.lapse": ("worker-money",),
    "cursor.catch_up": ("invoices",),
    "log.integrate": ("worker-tick",),
    "epoch.close": ("worker-tick",),
    "witness.cosign": ("worker-anchor",),
    "idempotency.claim": ("web",),
    "idempotency.answer": ("web",),
}
# The listener is faster than any poll: the worker settles only while it is away, so it dies when the others are done.
WITHOUT_THE_LISTENER = ("invoice.settle", "worker-money")
SETTINGS = {"LEASE_S": "2", "RESCUE_AFTER_S": "1", "INVOICE_WAIT_S": "3", "MAX_ATTEMPTS": "50"}


@dataclass
class Bench:
    """What one lane of the sweep acts through. Every lane has its own connections."""

    deaths: Deaths
    customer: Customer
    ledger: LedgerReader
    lightning: LightningHand
    bought: list[str] = field(default_factory=list)

    def buy(self) -> None:
        """Buy a job and hold it to its price."""
        self._finish(self.customer.order())

    def buy_by_key(self) -> None:
        """Buy under an Idempotency-Key. A key whose first request died is held for a minute: that minute is skipped."""
        key = uuid.uuid4().hex
        age = """UPDATE idempotency_keys SET created_at = created_at - interval '2 minutes'
                  WHERE key = %(key)s AND status IS NULL RETURNING key"""
        self._finish(self.customer.order(key=key, on_conflict=lambda: self.ledger.rows(age, key=key)))

    def be_refused(self) -> None:
        """Ask for a job while the node makes no invoices, then for another."""
        self.lightning.fault("AddInvoice", "unavailable", times=None)
        try:
            with pytest.raises((httpx.HTTPError, AssertionError)):
                assert self.customer.ask_once().is_success
        finally:
            self.lightning.heal()
        self.buy()

    def let_expire(self) -> None:
        """Order, and have the invoice's time run out."""
        created = self.customer.order()
        self.ledger.rows(
            """UPDATE invoices SET expires_at = now() - interval '1 minute', next_check = now() FROM jobs
                WHERE owner_kind = 'job' AND owner_id = jobs.id AND public_id = %(job)s RETURNING invoices.id""",
            job=created["jobId"],
        )
        assert self.customer.reach(created["jobId"], "failed")["errorMessage"].endswith("nothing was charged.")
        assert self.ledger.book(created["jobId"]).received == 0

    def _finish(self, created: Mapping[str, object]) -> None:
        done = self.customer.finish(created)
        assert done["state"] == "complete", done
        self.bought.append(done["jobId"])


SCENES: dict[str, Callable[[Bench], None]] = {
    "job.abandon": Bench.be_refused,
    "lnd.cancel_invoice": Bench.let_expire,
    "invoice.lapse": Bench.let_expire,
    "idempotency.claim": Bench.buy_by_key,
    "idempotency.answer": Bench.buy_by_key,
}


@dataclass(frozen=True)
class Death:
    """One death of the sweep."""

    point: str
    process: str

    @property
    def effect(self) -> str:
        """The effect at which it happens."""
        return self.point.partition(":")[2]


def planned() -> list[Death]:
    """Return every death: a point's first process, in a soak all of its processes."""
    return [
        Death(point, process)
        for point in points()
        for process in PASSED_BY[point.partition(":")[2]][: None if IS_SOAK else 1]
    ]


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaths]:
    folder = tmp_path_factory.mktemp("failpoints")
    with running_stack(tmp_path_factory.mktemp("sweep"), FAILPOINTS=f"once={folder}", **SETTINGS) as stack:
        yield Deaths(stack, folder)


@pytest.fixture(scope="module")
def swept(armed: Deaths) -> dict[Death, BaseException | None]:
    """Every death with what went wrong. Processes die side by side, each of them one death after the other."""
    lanes: dict[str, list[Death]] = defaultdict(list)
    afterwards: list[Death] = []
    for death in planned():
        is_later = (death.effect, death.process) == WITHOUT_THE_LISTENER
        (afterwards if is_later else lanes[death.process]).append(death)
    found: dict[Death, BaseException | None] = {}
    threads = [threading.Thread(target=_sweep, args=(armed, deaths, found)) for deaths in lanes.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listener = armed.stack.process("invoices")
    listener.stop()
    _sweep(armed, afterwards, found)
    listener.start()
    return found


def _sweep(armed: Deaths, deaths: list[Death], found: dict[Death, BaseException | None]) -> None:
    with ExitStack() as opened:
        bench = _bench(armed, opened)
        for death in deaths:
            try:
                _die(bench, death)
                found[death] = None
            except BaseException as error:  # noqa: BLE001 - it is raised again in the test of this death
                found[death] = error


def _die(bench: Bench, death: Death) -> None:
    scene = SCENES.get(death.effect, Bench.buy)
    if death.effect == "cursor.catch_up":
        _forget_the_place(bench)
    with bench.deaths.at(death.point, of=death.process):
        scene(bench)
    auditor = Auditor(bench.ledger, bench.lightning)
    for job_id in bench.bought[-1:]:
        auditor.require_done_once(job_id)


def _forget_the_place(bench: Bench) -> None:
    listener = bench.deaths.stack.process("invoices")
    listener.stop()
    bench.ledger.rows("UPDATE settle_cursor SET settle_index = 0 RETURNING settle_index")
    listener.start()


def _bench(armed: Deaths, opened: ExitStack) -> Bench:
    endpoints = armed.stack.endpoints
    customer = Customer(endpoints)
    opened.callback(customer.close)
    ledger = LedgerReader(endpoints["database_url"])
    opened.callback(ledger.close)
    lightning = LightningHand(endpoints)
    opened.callback(lightning.close)
    return Bench(armed, customer, ledger, lightning)


def test_every_effect_is_swept() -> None:
    assert set(PASSED_BY) == set(EFFECTS)
    assert {death.point for death in planned()} == set(points())


@pytest.mark.parametrize("death", planned(), ids=lambda death: f"{death.point}-{death.process}")
def test_a_death_here_loses_and_doubles_nothing(swept: dict[Death, BaseException | None], death: Death) -> None:
    error = swept[death]
    if error is not None:
        raise error


def test_after_all_these_deaths_the_books_are_true_and_nothing_is_left_to_do(
    swept: dict[Death, BaseException | None], armed: Deaths
) -> None:
    with ExitStack() as opened:
        bench = _bench(armed, opened)
        auditor = Auditor(bench.ledger, bench.lightning)
        auditor.require_rest()
        auditor.require_truth()
        births = sum(process.births for process in armed.stack.processes.values())
        print(
            f"\nfailpoint sweep: {len(swept)} deaths, {bench.ledger.counts()['jobs']} jobs, {births} starts of processes"
        )
