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
from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.audit import Auditor
from tests.campaign.bench import Bench, open_bench
from tests.campaign.deaths import Deaths
from tests.campaign.run_audit import require_nothing_kept_of_sealed, require_one_run_a_key, require_told_the_truth
from tests.contract.model_lister import ModelLister
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
        "worker-verification",
        "invoices",
    ),
    "outbox.publish": ("relay",),
    "bus.announce": ("invoices", "web", "worker-money", "worker-llm", "worker-payout", "worker-tick"),
    "step.claim": ("worker-llm", "worker-money", "worker-payout", "worker-anchor", "worker-verification"),
    "step.finish": ("worker-llm", "worker-money", "worker-payout", "worker-anchor", "worker-verification"),
    "tick.turn": ("worker-tick", "worker-money"),
    "job.create": ("web",),
    "job.abandon": ("web",),
    "lnd.add_invoice": ("worker-money",),
    "lnd.lookup_invoice": ("worker-money",),
    "lnd.cancel_invoice": ("worker-money",),
    "price.quote": ("worker-money",),
    "price.lock": ("worker-money",),
    "llm.complete": ("worker-llm", "worker-inference", "worker-verification"),
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
    "run.create": ("web",),
    "run.start": ("worker-inference",),
    "run.stream": ("worker-inference",),
    "run.cancel": ("web",),
    "run.leave": ("web",),
    "run.stay": ("web",),
    "verification.create": ("web",),
    "verification.start": ("worker-verification",),
    "verification.note": ("worker-verification",),
    "verification.cancel": ("web",),
    "verification.resume": ("web",),
    "quota.take": ("web",),
    "quota.give_back": ("worker-verification",),
    "quota.tokens": ("worker-verification",),
    "macaroon.rotate": ("worker-tick",),
    "key.issue": ("web",),
    "key.revoke": ("web",),
    "plan.invoice": ("web",),
    "plan.abandon": ("web",),
    "books.reconcile": ("worker-payout",),
    "cursor.catch_up": ("invoices",),
    "log.integrate": ("worker-tick",),
    "epoch.close": ("worker-tick",),
    "epoch.commit": ("web",),
    "epoch.retry": ("web",),
    "receipt.claim": ("web",),
    "split.record": ("web",),
    "witness.cosign": ("worker-anchor",),
    "passport.create": ("web",),
    "passport.change": ("web",),
    "passport.pricing": ("web",),
    "passport.endpoints": ("web",),
    "passport.revoke": ("web",),
    "node.beat": ("web",),
    "node.probed": ("worker-tick",),
    "catalog.probe": ("worker-tick",),
    "catalog.register": ("worker-tick",),
    "idempotency.claim": ("web",),
    "idempotency.answer": ("web",),
}
# The listener is faster than any poll: the worker settles only while it is away, so it dies when the others are done.
WITHOUT_THE_LISTENER = ("invoice.settle", "worker-money")
# So do those who are refused because the node makes no invoices: it makes none for anybody meanwhile.
WITHOUT_INVOICES = ("job.abandon", "session.abandon", "plan.abandon")
SETTINGS = {
    "LEASE_S": "2",
    "RESCUE_AFTER_S": "1",
    "INVOICE_WAIT_S": "3",
    "MAX_ATTEMPTS": "50",
    "PAYOUT_WAIT_S": "3",
    "ADMIN_KEY": ADMIN_KEY,
    "DEMO_CALLS_PER_HOUR": "1000",
    "DEMO_CALLS_PER_HOUR_IN_ALL": "1000",
}
# Each writes rows of its own in one transaction, where nobody's money is: the suite has one of its two deaths, in turn, a soak both.
PLAIN = (
    "demo.create",
    "verification.create",
    "verification.start",
    "verification.note",
    "verification.cancel",
    "verification.resume",
    "quota.take",
    "quota.give_back",
    "quota.tokens",
    "macaroon.rotate",
    "key.issue",
    "key.revoke",
    "epoch.retry",
    "receipt.claim",
    "split.record",
    "passport.create",
    "passport.change",
    "passport.pricing",
    "passport.endpoints",
    "passport.revoke",
    "node.beat",
    "node.probed",
    "catalog.probe",
    "catalog.register",
)
PASSPORT_CHANGES = ("create", "change", "pricing", "endpoints", "revoke")
SCENES: dict[str, Callable[[Bench], object]] = {
    "job.abandon": Bench.be_refused,
    "session.abandon": Bench.be_refused_a_session,
    "plan.abandon": Bench.be_refused_a_plan,
    "plan.invoice": Bench.buy_a_plan,
    **dict.fromkeys(("session.create", "session.close"), Bench.open_and_end),
    "session.request": Bench.ask_and_end,
    "session.topup": Bench.top_up_and_end,
    "session.expire": Bench.leave_a_session,
    **dict.fromkeys(("payout.claim", "payout.send", "lnd.decode_payreq", "lnd.send_payment"), Bench.be_paid_back),
    **dict.fromkeys(("payout.unknown", "lnd.track_payment"), Bench.be_paid_back_late),
    "demo.create": Bench.try_for_free,
    **dict.fromkeys(("run.create", "run.start"), Bench.have_a_model_asked),
    **dict.fromkeys(("run.stream", "run.stay"), Bench.have_an_answer_streamed),
    "run.leave": Bench.leave_a_stream,
    "run.cancel": Bench.cancel_a_run,
    **dict.fromkeys(
        ("verification.create", "verification.start", "quota.take", "quota.tokens"), Bench.have_code_verified
    ),
    "verification.cancel": Bench.cancel_a_verification,
    **dict.fromkeys(("verification.note", "verification.resume", "quota.give_back"), Bench.resume_a_verification),
    "macaroon.rotate": Bench.have_keys_changed,
    **dict.fromkeys(("key.issue", "key.revoke"), Bench.keep_keys),
    **dict.fromkeys(("epoch.commit", "receipt.claim"), Bench.claim_and_commit),
    "epoch.retry": Bench.have_anchored_again,
    "split.record": Bench.share_out,
    **dict.fromkeys((f"passport.{change}" for change in PASSPORT_CHANGES), Bench.keep_a_node),
    "node.beat": Bench.keep_a_node,
    **dict.fromkeys(("catalog.probe", "node.probed"), Bench.have_nodes_asked),
    "catalog.register": Bench.have_a_model_listed,
    "books.reconcile": Bench.have_the_books_compared,
    "lnd.cancel_invoice": Bench.let_expire,
    "invoice.lapse": Bench.let_expire,
    "idempotency.claim": Bench.buy_by_key,
    "idempotency.answer": Bench.buy_by_key,
}


_LEFT_TO_THE_SOAK = {f"{('before', 'after')[turn % 2]}:{effect}" for turn, effect in enumerate(PLAIN)}


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
        if IS_SOAK or point not in _LEFT_TO_THE_SOAK
        for process in PASSED_BY[point.partition(":")[2]][: None if IS_SOAK else 1]
    ]


def scene_of(death: Death) -> Callable[[Bench], object]:
    """Return what is done while the process dies."""
    if death.process == "worker-inference":
        return SCENES.get(death.effect, Bench.have_an_answer_streamed)
    if death.process == "worker-verification":
        return SCENES.get(death.effect, Bench.have_code_verified)
    ordinary = Bench.be_paid_back if death.process == "worker-payout" else Bench.buy
    return SCENES.get(death.effect, ordinary)


@pytest.fixture(scope="module")
def lister() -> Iterator[ModelLister]:
    """An upstream whose list of models changes."""
    upstream = ModelLister("model-0")
    yield upstream
    upstream.shut()


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory, lister: ModelLister) -> Iterator[Deaths]:
    folder = tmp_path_factory.mktemp("failpoints")
    with PriceExchange() as exchange:  # a price that the operator names is asked of nobody
        more = {"FAILPOINTS": f"once={folder}", "BTC_PRICE_FEEDS": exchange.feeds}
        more["UPSTREAMS"] = f"lister={lister.base_url}"
        with running_stack(tmp_path_factory.mktemp("sweep"), **SETTINGS, **more) as stack:
            yield Deaths(stack, folder)


@pytest.fixture(scope="module")
def swept(armed: Deaths, lister: ModelLister) -> dict[Death, BaseException | None]:
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
    threads = [threading.Thread(target=_sweep, args=(armed, lister, deaths, found)) for deaths in lanes.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _sweep(armed, lister, refused, found)
    listener = armed.stack.process("invoices")
    listener.stop()
    _sweep(armed, lister, deaf, found)
    listener.start()
    return found


def _sweep(armed: Deaths, lister: ModelLister, deaths: list[Death], found: dict[Death, BaseException | None]) -> None:
    with ExitStack() as opened:
        bench = open_bench(armed, opened, lister)
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
    require_told_the_truth(bench.ledger, bench.asker.caller.held)
    require_one_run_a_key(bench.ledger, bench.asker.caller.by_trace)


def _forget_the_place(bench: Bench) -> None:
    listener = bench.deaths.stack.process("invoices")
    listener.stop()
    bench.ledger.rows("UPDATE settle_cursor SET settle_index = 0 RETURNING settle_index")
    listener.start()


def test_every_effect_is_swept() -> None:
    assert set(PASSED_BY) == set(EFFECTS)
    assert {death.effect for death in planned()} == set(EFFECTS)
    assert {death.point for death in planned()} == set(points()) - (set() if IS_SOAK else _LEFT_TO_THE_SOAK)


@pytest.mark.parametrize("death", planned(), ids=lambda death: f"{death.point}-{death.process}")
def test_a_death_here_loses_and_doubles_nothing(swept: dict[Death, BaseException | None], death: Death) -> None:
    error = swept[death]
    if error is not None:
        raise error


def test_after_all_these_deaths_the_books_are_true_and_nothing_is_left_to_do(
    swept: dict[Death, BaseException | None], armed: Deaths, lister: ModelLister
) -> None:
    with ExitStack() as opened:
        bench = open_bench(armed, opened, lister)
        auditor = Auditor(bench.ledger, bench.nodes)
        auditor.require_rest()
        auditor.require_truth()
        require_nothing_kept_of_sealed(bench.ledger)
        assert bench.ledger.rows("SELECT differences FROM reconciliations WHERE differences <> '[]'") == []
        runs = bench.ledger.one("SELECT count(*) FROM runs")
        births = sum(process.births for process in armed.stack.processes.values())
        print(
            f"\nfailpoint sweep: {len(swept)} deaths, {bench.ledger.counts()['jobs']} jobs, {runs} runs, {births} starts of processes"
        )
