"""A process dies before and after every effect, one death each: what was accepted is done once and paid once all the same."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from shared.kernel.failpoints import EFFECTS, points
from tests.campaign.audit import Auditor
from tests.campaign.bench import Bench, open_bench
from tests.campaign.deaths import Deaths
from tests.e2e.market import running_stack
from tests.e2e.price_exchange import PriceExchange

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))

# Who passes each effect: the first dies there in every run, all of them in a soak.
PASSED_BY: dict[str, tuple[str, ...]] = {
    "db.commit": (
        "web",
        "relay",
        "worker-money",
        "worker-llm",
        "worker-payout",
        "worker-tick",
        "worker-anchor",
        "invoices",
    ),
    "outbox.publish": ("relay",),
    "bus.announce": ("invoices", "web", "worker-money", "worker-llm", "worker-payout", "worker-tick"),
    "step.claim": ("worker-llm", "worker-money", "worker-payout", "worker-anchor"),
    "step.finish": ("worker-llm", "worker-money", "worker-payout", "worker-anchor"),
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
    "lnd.decode_payreq": ("worker-payout",),
    "lnd.send_payment": ("worker-payout",),
    "lnd.track_payment": ("worker-payout",),
    "payout.claim": ("web",),
    "payout.send": ("worker-payout",),
    "payout.unknown": ("worker-payout",),
    "session.create": ("web",),
    "session.abandon": ("web",),
    "session.topup": ("web",),
    "session.request": ("web",),
    "session.close": ("web",),
    "session.expire": ("worker-money",),
    "demo.create": ("web",),
    "macaroon.rotate": ("worker-tick",),
    "books.reconcile": ("worker-payout",),
    "cursor.catch_up": ("invoices",),
    "log.integrate": ("worker-tick",),
    "epoch.close": ("worker-tick",),
    "witness.cosign": ("worker-anchor",),
    "idempotency.claim": ("web",),
    "idempotency.answer": ("web",),
}
# The listener is faster than any poll: the worker settles only while it is away, so it dies when the others are done.
WITHOUT_THE_LISTENER = ("invoice.settle", "worker-money")
# So do those who are refused because the node makes no invoices: it makes none for anybody meanwhile.
WITHOUT_INVOICES = ("job.abandon", "session.abandon")
SETTINGS = {
    "LEASE_S": "2",
    "RESCUE_AFTER_S": "1",
    "INVOICE_WAIT_S": "3",
    "MAX_ATTEMPTS": "50",
    "PAYOUT_WAIT_S": "3",
    "DEMO_CALLS_PER_HOUR": "1000",
    "DEMO_CALLS_PER_HOUR_IN_ALL": "1000",
}
SCENES: dict[str, Callable[[Bench], object]] = {
    "job.abandon": Bench.be_refused,
    "session.abandon": Bench.be_refused_a_session,
    **dict.fromkeys(("session.create", "session.close"), Bench.open_and_end),
    "session.request": Bench.ask_and_end,
    "session.topup": Bench.top_up_and_end,
    "session.expire": Bench.leave_a_session,
    **dict.fromkeys(("payout.claim", "payout.send", "lnd.decode_payreq", "lnd.send_payment"), Bench.be_paid_back),
    **dict.fromkeys(("payout.unknown", "lnd.track_payment"), Bench.be_paid_back_late),
    "demo.create": Bench.try_for_free,
    "macaroon.rotate": Bench.have_keys_changed,
    "books.reconcile": Bench.have_the_books_compared,
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


def scene_of(death: Death) -> Callable[[Bench], object]:
    """Return what is done while the process dies."""
    ordinary = Bench.be_paid_back if death.process == "worker-payout" else Bench.buy
    return SCENES.get(death.effect, ordinary)


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deaths]:
    folder = tmp_path_factory.mktemp("failpoints")
    with PriceExchange() as exchange:  # a price that the operator names is asked of nobody
        more = {"FAILPOINTS": f"once={folder}", "BTC_PRICE_FEEDS": exchange.feeds}
        with running_stack(tmp_path_factory.mktemp("sweep"), **SETTINGS, **more) as stack:
            yield Deaths(stack, folder)


@pytest.fixture(scope="module")
def swept(armed: Deaths) -> dict[Death, BaseException | None]:
    """Every death with what went wrong. Processes die side by side, each of them one death after the other."""
    lanes: dict[str, list[Death]] = defaultdict(list)
    deaf: list[Death] = []
    refused: list[Death] = []
    for death in planned():
        if (death.effect, death.process) == WITHOUT_THE_LISTENER:
            deaf.append(death)
        else:
            (refused if death.effect in WITHOUT_INVOICES else lanes[death.process]).append(death)
    found: dict[Death, BaseException | None] = {}
    threads = [threading.Thread(target=_sweep, args=(armed, deaths, found)) for deaths in lanes.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _sweep(armed, refused, found)
    listener = armed.stack.process("invoices")
    listener.stop()
    _sweep(armed, deaf, found)
    listener.start()
    return found


def _sweep(armed: Deaths, deaths: list[Death], found: dict[Death, BaseException | None]) -> None:
    with ExitStack() as opened:
        bench = open_bench(armed, opened)
        for death in deaths:
            try:
                _die(bench, death)
                found[death] = None
            except BaseException as error:  # noqa: BLE001 - it is raised again in the test of this death
                found[death] = error


def _die(bench: Bench, death: Death) -> None:
    scene = scene_of(death)
    if death.effect == "cursor.catch_up":
        _forget_the_place(bench)
    with bench.deaths.at(death.point, of=death.process):
        scene(bench)
    auditor = Auditor(bench.ledger, bench.nodes)
    for job_id in bench.bought[-1:]:
        auditor.require_done_once(job_id)


def _forget_the_place(bench: Bench) -> None:
    listener = bench.deaths.stack.process("invoices")
    listener.stop()
    bench.ledger.rows("UPDATE settle_cursor SET settle_index = 0 RETURNING settle_index")
    listener.start()


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
        bench = open_bench(armed, opened)
        auditor = Auditor(bench.ledger, bench.nodes)
        auditor.require_rest()
        auditor.require_truth()
        assert bench.ledger.rows("SELECT differences FROM reconciliations WHERE differences <> '[]'") == []
        births = sum(process.births for process in armed.stack.processes.values())
        print(
            f"\nfailpoint sweep: {len(swept)} deaths, {bench.ledger.counts()['jobs']} jobs, {births} starts of processes"
        )
