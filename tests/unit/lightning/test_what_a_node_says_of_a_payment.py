"""lnrpc.Payment as we read it: what is not surely over is in flight."""

from __future__ import annotations

from typing import Any

import pytest

from shared.lightning.clients import stubs
from shared.lightning.clients.lnd_payments import CLTV_LIMIT_BLOCKS, order_of, payment_of
from shared.lightning.model import NodePaymentState
from shared.lightning.payouts import fee_limit_msat

Payment: Any = stubs.lnrpc.Payment
HTLCAttempt: Any = stubs.lnrpc.HTLCAttempt


def test_every_status_but_the_two_ends_is_in_flight() -> None:
    ends = {Payment.SUCCEEDED: NodePaymentState.SUCCEEDED, Payment.FAILED: NodePaymentState.FAILED}
    for status in range(12):
        assert payment_of(Payment(status=status)).state is ends.get(status, NodePaymentState.IN_FLIGHT)


def test_a_failure_with_an_htlc_that_is_not_resolved_is_in_flight() -> None:
    failed, flying = HTLCAttempt(status=HTLCAttempt.FAILED), HTLCAttempt(status=HTLCAttempt.IN_FLIGHT)
    assert payment_of(Payment(status=Payment.FAILED, htlcs=[failed])).state is NodePaymentState.FAILED
    assert payment_of(Payment(status=Payment.FAILED, htlcs=[failed, flying])).state is NodePaymentState.IN_FLIGHT


def test_a_preimage_counts_with_success_only() -> None:
    assert payment_of(Payment(status=Payment.SUCCEEDED, payment_preimage="11" * 32)).preimage == b"\x11" * 32
    assert payment_of(Payment(status=Payment.IN_FLIGHT, payment_preimage="00" * 32)).preimage is None
    assert payment_of(Payment(status=Payment.SUCCEEDED, payment_preimage="no hex")).preimage == b""


@pytest.mark.parametrize(
    ("number", "word"), [(0, "NONE"), (2, "NO_ROUTE"), (5, "INSUFFICIENT_BALANCE"), (6, "6"), (99, "99")]
)
def test_a_reason_newer_than_the_stubs_is_told_by_its_number(number: int, word: str) -> None:
    assert payment_of(Payment(failure_reason=number)).failure == word


def test_routing_may_cost_one_percent_and_at_least_a_sat() -> None:
    assert [fee_limit_msat(sats * 1000) for sats in (1, 100, 101, 10_000)] == [1000, 1000, 1010, 100_000]


def test_a_route_may_hold_our_money_for_three_days_and_no_longer() -> None:
    order = order_of("lnbcrt1", fee_limit_msat=1000, timeout_s=30)
    assert (order.cltv_limit, order.fee_limit_msat, order.timeout_seconds) == (CLTV_LIMIT_BLOCKS, 1000, 30)
    assert CLTV_LIMIT_BLOCKS == 3 * 144
    assert not order.no_inflight_updates
