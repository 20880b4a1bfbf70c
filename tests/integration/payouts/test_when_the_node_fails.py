"""Every way in which a payment's outcome can stay unknown for a while: the node's own answer about the hash ends it, nothing else."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from shared.kernel.errors import Conflict
from shared.lightning.model import Payout, PayoutState
from tests.integration.payouts.till import Till, await_expiry, claimed_at_the_last_moment

PAST_ALL_GRACE = timedelta(days=2)


def claimed(till: Till) -> Payout:
    return till.claim(till.owe(), till.invoice())


def require_bound(till: Till, payout: Payout) -> None:
    """What the payout is for can be claimed by nobody else."""
    with pytest.raises(Conflict) as refused:
        till.claim(payout.owner, till.invoice())
    assert refused.value.code == "payout_open"
    assert till.received_msat() in (0, 20_000)


def release(till: Till, payout: Payout, outcome: str) -> None:
    till.nodes.command("/release", payment_hash=payout.payment_hash.hex(), outcome=outcome)


def test_a_node_that_is_down_is_waited_for(till: Till) -> None:
    payout = claimed(till)
    till.nodes.command("/down", node="lnd", down=True)
    assert till.pay(payout).state is PayoutState.INTENDED
    step = till.step()
    assert (step["state"], step["attempts"]) == ("queued", 0)
    assert 0.5 < step["waits_s"] <= 60
    till.nodes.command("/down", node="lnd", down=False)
    till.pay_until(payout, PayoutState.PAID)


@pytest.mark.parametrize("fault", ["unavailable", "hang"])
def test_a_hand_over_that_got_lost_is_made_again_with_the_same_request(till: Till, fault: str) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", fault)
    lost = till.pay(payout)
    assert (lost.state, lost.seen_in_flight, lost.sender_fence) == (PayoutState.UNKNOWN, False, None)
    require_bound(till, payout)
    paid = till.pay(payout)
    assert (paid.state, paid.orphaned) == (PayoutState.PAID, True)
    assert till.moves(payout) == ["intended", "sending", "unknown", "sending", "paid"]


def test_a_stream_that_is_cut_in_flight_is_followed_to_its_success(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "drop_stream")
    cut = till.pay(payout)
    assert (cut.state, cut.seen_in_flight) == (PayoutState.UNKNOWN, True)
    for _ in range(2):
        assert till.pay(payout).state is PayoutState.UNKNOWN
        require_bound(till, payout)
    assert till.step()["attempts"] == 0
    release(till, payout, "succeed")
    paid = till.pay(payout)
    assert (paid.state, paid.orphaned) == (PayoutState.PAID, False)


def test_a_stream_that_is_cut_in_flight_is_followed_to_its_failure_and_then_another_invoice_is_paid(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "drop_stream")
    till.pay(payout)
    release(till, payout, "fail")
    failed = till.pay(payout)
    assert (failed.state, failed.fault) == (PayoutState.FAILED, "ERROR")
    assert till.pay(till.claim(payout.owner, till.invoice())).state is PayoutState.PAID


def test_an_answer_that_is_lost_after_the_money_moved_is_found_out(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "drop_after_settle")
    assert till.pay(payout).state is PayoutState.UNKNOWN
    require_bound(till, payout)
    assert till.pay(payout).state is PayoutState.PAID


def test_a_payment_that_begins_after_we_stopped_listening_is_found_out(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "delay", seconds=30)
    unknown = till.pay(payout)
    assert (unknown.state, unknown.seen_in_flight) == (PayoutState.UNKNOWN, False)
    paid = till.pay(payout)
    assert paid.state is PayoutState.PAID


def test_a_payment_that_hangs_beyond_the_deadline_is_in_flight_until_the_node_says_otherwise(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    assert till.pay(payout).seen_in_flight
    till.clock.ahead = PAST_ALL_GRACE
    stuck = till.pay(payout)
    assert (stuck.state, stuck.needs_review) == (PayoutState.UNKNOWN, False)
    release(till, payout, "succeed")
    assert till.pay(payout).state is PayoutState.PAID


def test_a_status_that_is_newer_than_our_stubs_is_in_flight(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "initiated")
    initiated = till.pay(payout)
    assert (initiated.state, initiated.seen_in_flight) == (PayoutState.UNKNOWN, True)
    assert till.pay(payout).state is PayoutState.UNKNOWN
    release(till, payout, "succeed")
    assert till.pay(payout).state is PayoutState.PAID


@pytest.mark.parametrize("method", ["SendPaymentV2", "TrackPaymentV2"])
def test_an_event_that_comes_twice_counts_once(till: Till, method: str) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", method, "duplicate_events", times=4)
    if method == "TrackPaymentV2":
        till.nodes.fault("lnd", "SendPaymentV2", "drop_after_settle")
        till.pay(payout)
    assert till.pay(payout).state is PayoutState.PAID
    assert till.rows("SELECT count(*) AS n FROM entries WHERE kind = 'pay_out'") == [{"n": 1}]


@pytest.mark.parametrize(
    "reason", ["TIMEOUT", "NO_ROUTE", "ERROR", "INCORRECT_PAYMENT_DETAILS", "INSUFFICIENT_BALANCE", "CANCELED"]
)
def test_a_failure_lets_the_debts_go_and_the_same_invoice_is_not_tried_again(till: Till, reason: str) -> None:
    owner, invoice = till.owe(), till.invoice()
    payout = till.claim(owner, invoice)
    till.nodes.fault("lnd", "SendPaymentV2", f"fail:{reason}")
    failed = till.pay(payout)
    assert failed.state is PayoutState.FAILED
    assert failed.fault in {reason, "6"}  # CANCELED is newer than the stubs
    assert till.claim(owner, invoice) == failed
    assert till.pay(failed) == failed
    assert till.pay(till.claim(owner, till.invoice())).state is PayoutState.PAID


def test_a_node_that_has_paid_this_hash_before_is_asked_and_not_paid_with_again(till: Till) -> None:
    payout = claimed(till)
    till.nodes.lnd.pay(payout.payment_request)
    assert till.pay(payout).state is PayoutState.UNKNOWN
    assert till.pay(payout).state is PayoutState.PAID
    assert till.received_msat() == 20_000


def lose_a_hand_over(till: Till, payout: Payout) -> None:
    """The node never hears of it, and so it will be handed over a second time."""
    till.nodes.fault("lnd", "SendPaymentV2", "unavailable")
    assert till.pay(payout).state is PayoutState.UNKNOWN


def test_a_clock_that_runs_ahead_does_not_end_a_hand_over_that_got_lost(till: Till) -> None:
    payout = claimed(till)
    lose_a_hand_over(till, payout)
    till.clock.ahead = payout.expires_at - till.clock.now() + timedelta(hours=1)
    till.nodes.fault("lnd", "SendPaymentV2", "unavailable", times=2)
    for _ in range(2):
        assert till.pay(payout).state is PayoutState.UNKNOWN
        require_bound(till, payout)
    assert till.pay(payout).state is PayoutState.PAID
    assert till.received_msat() == 20_000


def test_a_clock_that_runs_ahead_does_not_make_a_failure_after_two_hand_overs_the_end(till: Till) -> None:
    payout = claimed(till)
    lose_a_hand_over(till, payout)
    till.clock.ahead = payout.expires_at - till.clock.now() + timedelta(hours=1)
    till.nodes.fault("lnd", "SendPaymentV2", "fail:NO_ROUTE", times=3)
    for _ in range(3):
        waiting = till.pay(payout)
        assert (waiting.state, waiting.orphaned) == (PayoutState.UNKNOWN, True)
        require_bound(till, payout)
    assert till.step()["waits_s"] > 200
    assert till.pay(payout).state is PayoutState.PAID
    assert till.received_msat() == 20_000


@pytest.mark.parametrize("is_on_record", [False, True], ids=["never heard of", "failed at the node"])
def test_after_two_hand_overs_the_end_is_the_nodes_word_that_the_invoice_has_expired_and_a_grace(
    till: Till, is_on_record: bool
) -> None:
    payout = claimed_at_the_last_moment(till)
    lose_a_hand_over(till, payout)
    if is_on_record:
        till.nodes.fault("lnd", "SendPaymentV2", "fail:NO_ROUTE")
        assert till.pay(payout).state is PayoutState.UNKNOWN
    await_expiry(payout)
    assert till.pay(payout).state is PayoutState.UNKNOWN
    require_bound(till, payout)
    till.clock.ahead = PAST_ALL_GRACE
    failed = till.pay(payout)
    assert (failed.state, failed.orphaned) == (PayoutState.FAILED, True)
    assert "invoice expired" in str(failed.fault)
    till.clock.ahead = timedelta()
    assert till.pay(till.claim(payout.owner, till.invoice())).state is PayoutState.PAID


def test_a_refusal_of_an_expired_invoice_does_not_hide_that_it_was_paid_before(till: Till) -> None:
    payout = claimed_at_the_last_moment(till)
    till.nodes.lnd.pay(payout.payment_request)
    await_expiry(payout)
    assert till.pay(payout).state is PayoutState.PAID
    assert till.received_msat() == 20_000


def test_a_refusal_of_an_expired_invoice_does_not_hide_a_hand_over_that_arrived_late(till: Till) -> None:
    payout = claimed_at_the_last_moment(till)
    lose_a_hand_over(till, payout)
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    with contextlib.suppress(Exception):
        till.nodes.lnd.pay(payout.payment_request)
    till.nodes.fault("lnd", "TrackPaymentV2", "not_found")  # asked just before it arrived
    await_expiry(payout)
    till.clock.ahead = PAST_ALL_GRACE
    assert till.pay(payout).state is PayoutState.UNKNOWN
    till.clock.ahead = timedelta()
    release(till, payout, "succeed")
    assert till.pay(payout).state is PayoutState.PAID


def test_a_payment_that_nobody_takes_in_keeps_the_worker_for_two_seconds(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    began = till.clock.monotonic()
    stuck = till.pay(payout, by=till.patient_worker(hold_s=20))
    assert till.clock.monotonic() - began < 8
    assert (stuck.state, stuck.seen_in_flight) == (PayoutState.UNKNOWN, True)
    release(till, payout, "succeed")
    assert till.pay(payout).state is PayoutState.PAID


def test_a_payment_whose_record_the_node_has_lost_is_never_taken_for_failed(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    till.pay(payout)
    till.nodes.fault("lnd", "TrackPaymentV2", "not_found", times=2)
    lost = till.pay(payout)
    assert (lost.state, lost.needs_review) == (PayoutState.UNKNOWN, True)
    assert 200 < till.step()["waits_s"] <= 300
    till.clock.ahead = PAST_ALL_GRACE
    assert till.pay(payout).state is PayoutState.UNKNOWN
    require_bound(till, payout)
    release(till, payout, "succeed")
    paid = till.pay(payout)
    assert (paid.state, paid.needs_review) == (PayoutState.PAID, False)


def test_a_node_that_restarts_in_the_midst_is_asked_again(till: Till) -> None:
    payout = claimed(till)
    till.nodes.fault("lnd", "SendPaymentV2", "stuck_in_flight")
    till.pay(payout)
    till.nodes.kill()
    assert till.pay(payout).state is PayoutState.UNKNOWN
    till.nodes.start()
    assert till.pay(payout).state is PayoutState.UNKNOWN
    release(till, payout, "succeed")
    till.pay_until(payout, PayoutState.PAID)
