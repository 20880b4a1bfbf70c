"""A worker that dies, freezes or wakes too late pays nothing twice, and its payout never stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from shared.kernel.errors import Conflict
from shared.lightning.model import PayoutState
from tests.architecture.source_tree import ROOT
from tests.integration.payouts.till import Till, await_expiry, claimed_at_the_last_moment

PAST_ALL_GRACE = timedelta(days=2)
RUN = """
import os, sys
from shared.bootstrap import Role, start
start(os.environ, Role.WORKER).disbursement.send(int(sys.argv[1]))
"""
CRASHED = 137
# The transactions of one delivery that sends: claim, read, announce, finish.
POINTS = [
    *(
        f"{when}:{name}"
        for name in ("step.claim", "lnd.decode_payreq", "payout.send", "lnd.send_payment", "step.finish")
        for when in ("before", "after")
    ),
    *(f"{when}:db.commit=crash@{passage}" for passage in (1, 2, 3, 4) for when in ("before", "after")),
]
POINTS_WHILE_UNKNOWN = [
    *(f"{when}:{name}" for name in ("lnd.track_payment", "payout.unknown") for when in ("before", "after")),
]  # fmt: skip


def die(till: Till, payout_id: int, point: str) -> None:
    """Run the step in a process of its own that dies at `point`, and let its lease lapse."""
    till.let_be_due()
    armed = point if "=" in point else f"{point}=crash"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(payout_id)],
        cwd=ROOT,
        env={**kept, **till.environment, "FAILPOINTS": armed},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == CRASHED, ran.stderr
    till.let_lease_lapse()


def chosen(points: list[str]) -> list[str]:
    """All of them in a soak, every third else: a process each."""
    return points if os.environ.get("LUCID_SOAK") else points[::3]


@pytest.mark.parametrize("point", chosen(POINTS))
def test_whenever_the_sender_dies_the_payout_is_made_once(till: Till, point: str) -> None:
    payout = till.claim(till.owe(), till.invoice())
    die(till, payout.id, point)
    paid = till.pay(payout)
    assert paid.state is PayoutState.PAID
    assert till.received_msat() == 20_000


@pytest.mark.parametrize("point", chosen(POINTS_WHILE_UNKNOWN))
def test_whenever_the_follower_dies_the_payout_is_followed_to_its_end(till: Till, point: str) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    till.pay(payout)
    die(till, payout.id, point)
    till.nodes.command("/release", payment_hash=payout.payment_hash.hex(), outcome="succeed")
    assert till.pay(payout).state is PayoutState.PAID


def test_a_sender_that_dies_again_and_again_is_succeeded_for_ever(till: Till) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    till.pay(payout)
    till.run("UPDATE steps SET attempts = 50")
    watched = till.pay(payout)
    assert (watched.state, watched.needs_review) == (PayoutState.UNKNOWN, True)
    assert till.step()["state"] == "queued"
    till.nodes.command("/release", payment_hash=payout.payment_hash.hex(), outcome="succeed")
    paid = till.pay(payout)
    assert (paid.state, paid.needs_review) == (PayoutState.PAID, False)


def test_an_unforeseen_error_is_no_end_either(till: Till) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.run("ALTER TABLE payouts ADD CONSTRAINT in_the_way CHECK (state <> 'sending')")
    till.run("UPDATE steps SET attempts = 50")
    assert till.pay(payout).state is PayoutState.INTENDED
    assert till.step()["state"] == "queued"
    till.run("ALTER TABLE payouts DROP CONSTRAINT in_the_way")
    assert till.pay(payout).state is PayoutState.PAID


def test_a_sender_that_froze_before_its_call_and_wakes_after_a_failure_pays_what_is_still_claimed(till: Till) -> None:
    """lnd pays a failed hash again when it is asked again: so a failure must not free the debts while somebody may still ask."""
    payout = till.claim(till.owe(), till.invoice())
    frozen, gated = till.another_worker()
    thread = threading.Thread(target=frozen.send, args=(payout.id,))
    thread.start()
    assert gated.reached.wait(20)
    till.let_lease_lapse()

    till.nodes.fault("lnd", "SendPaymentV2", "fail:NO_ROUTE")
    successor = till.pay(payout)
    assert (successor.state, successor.orphaned) == (PayoutState.UNKNOWN, True)
    with pytest.raises(Conflict):
        till.claim(payout.owner, till.invoice())

    gated.gate.set()
    thread.join(20)
    assert till.received_msat() == 20_000
    assert till.look(payout).state is PayoutState.UNKNOWN, "whoever lost his claim writes nothing"
    assert till.pay(payout).state is PayoutState.PAID
    assert till.owed_msat(payout.owner) == 0


def test_a_sender_that_froze_and_wakes_after_its_invoice_expired_is_refused_by_the_node(till: Till) -> None:
    payout = claimed_at_the_last_moment(till)
    frozen, gated = till.another_worker()
    thread = threading.Thread(target=frozen.send, args=(payout.id,))
    thread.start()
    assert gated.reached.wait(20)
    till.let_lease_lapse()
    till.nodes.fault("lnd", "SendPaymentV2", "fail:NO_ROUTE")
    assert till.pay(payout).state is PayoutState.UNKNOWN
    await_expiry(payout)
    till.clock.ahead = PAST_ALL_GRACE
    assert till.pay(payout).state is PayoutState.FAILED
    till.clock.ahead = timedelta()
    gated.gate.set()
    thread.join(20)
    assert till.received_msat() == 0
    assert till.pay(till.claim(payout.owner, till.invoice())).state is PayoutState.PAID


def test_a_worker_that_is_told_to_stop_hangs_up_and_leaves_the_rest_to_the_next(till: Till) -> None:
    payout = till.claim(till.owe(), till.invoice())
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    work = till.container.work
    timer = threading.Timer(0.3, work.stopping.set)
    timer.start()
    stopped = till.pay(payout)
    timer.join()
    assert (stopped.state, stopped.seen_in_flight, stopped.sender_fence) == (PayoutState.UNKNOWN, True, None)
    work.stopping.clear()
    till.nodes.command("/release", payment_hash=payout.payment_hash.hex(), outcome="succeed")
    assert till.pay(payout).state is PayoutState.PAID
