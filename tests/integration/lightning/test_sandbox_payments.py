"""SendPaymentV2 and TrackPaymentV2: lnd's statuses, texts and refusals; money is moved, never made."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import bolt11
import grpc
import pytest
from lightning_process import TOTAL_MSAT, LightningProcess, refusal

from shared.lightning.clients import stubs

P = stubs.lnrpc.Payment
UNKNOWN = grpc.StatusCode.UNKNOWN
ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS


def test_a_payment_moves_the_money_and_yields_the_preimage(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    before = (lnd.balance_msat(), wallet.balance_msat())
    invoice = lnd.invoice(0, value_msat=123_456)
    in_flight, done = list(wallet.send(invoice.payment_request))
    assert (in_flight.status, in_flight.payment_preimage) == (P.IN_FLIGHT, "00" * 32)
    assert done.status == P.SUCCEEDED
    assert hashlib.sha256(bytes.fromhex(done.payment_preimage)).digest() == invoice.r_hash
    assert (done.value_msat, done.fee_msat, done.payment_hash) == (123_456, 0, invoice.r_hash.hex())
    assert (lnd.balance_msat(), wallet.balance_msat()) == (before[0] + 123_456, before[1] - 123_456)
    settled = lnd.look_up(invoice.r_hash)
    assert (settled.state, settled.amt_paid_msat) == (stubs.lnrpc.Invoice.SETTLED, 123_456)
    assert settled.settle_index > 0
    assert settled.settle_date > 0


def test_the_merchant_can_pay_the_customer_back(sandbox_lightning: LightningProcess) -> None:
    refund = sandbox_lightning.wallet.invoice(50)
    assert sandbox_lightning.lnd.pay(refund.payment_request).status == P.SUCCEEDED
    assert sandbox_lightning.wallet.look_up(refund.r_hash).state == stubs.lnrpc.Invoice.SETTLED


def test_without_inflight_updates_only_the_end_is_told(sandbox_lightning: LightningProcess) -> None:
    invoice = sandbox_lightning.lnd.invoice(5)
    updates = list(sandbox_lightning.wallet.send(invoice.payment_request, no_inflight_updates=True))
    assert [update.status for update in updates] == [P.SUCCEEDED]


def test_a_paid_invoice_is_never_paid_twice(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(5)
    wallet.pay(invoice.payment_request)
    balance = wallet.balance_msat()
    assert refusal(lambda: wallet.send(invoice.payment_request)) == (ALREADY_EXISTS, "invoice is already paid")
    assert wallet.balance_msat() == balance
    (tracked,) = wallet.track(invoice.r_hash)
    assert tracked.status == P.SUCCEEDED
    assert hashlib.sha256(bytes.fromhex(tracked.payment_preimage)).digest() == invoice.r_hash


def test_concurrent_sends_of_one_invoice_pay_once(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(5)
    before = wallet.balance_msat()
    outcomes: list[Any] = []

    def attempt() -> None:
        try:
            outcomes.append(wallet.pay(invoice.payment_request).status)
        except grpc.RpcError as error:
            call: Any = error
            outcomes.append(call.code())

    attempts = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in attempts:
        thread.start()
    for thread in attempts:
        thread.join()
    assert outcomes.count(P.SUCCEEDED) == 1
    assert outcomes.count(ALREADY_EXISTS) == 7
    assert wallet.balance_msat() == before - 5_000


def test_paying_oneself_is_refused(sandbox_lightning: LightningProcess) -> None:
    own = sandbox_lightning.lnd.invoice(5)
    assert refusal(lambda: sandbox_lightning.lnd.send(own.payment_request)) == (UNKNOWN, "self-payments not allowed")
    allowed = sandbox_lightning.lnd.pay(own.payment_request, allow_self_payment=True)
    assert allowed.failure_reason == stubs.lnrpc.FAILURE_REASON_NO_ROUTE


def test_an_amount_is_named_by_exactly_one_side(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    priced, open_amount = sandbox_lightning.lnd.invoice(5), sandbox_lightning.lnd.invoice(0)
    assert refusal(lambda: wallet.send(priced.payment_request, amt=5)) == (
        UNKNOWN,
        "amount must not be specified when paying a non-zero amount invoice",
    )
    assert refusal(lambda: wallet.send(open_amount.payment_request)) == (
        UNKNOWN,
        "amount must be specified when paying a zero amount invoice",
    )
    assert wallet.pay(open_amount.payment_request, amt_msat=7_001).value_msat == 7_001
    assert sandbox_lightning.lnd.look_up(open_amount.r_hash).amt_paid_msat == 7_001


def test_an_invoice_of_another_network_is_refused(sandbox_lightning: LightningProcess) -> None:
    read = bolt11.decode(sandbox_lightning.lnd.invoice(5).payment_request)
    read.currency = "bc"
    mainnet = bolt11.encode(read, "11" * 32)
    found = refusal(lambda: sandbox_lightning.wallet.send(mainnet))
    assert found == (UNKNOWN, "invoice not for current active network 'regtest'")


def test_an_unknown_payee_has_no_route(sandbox_lightning: LightningProcess) -> None:
    read = bolt11.decode(sandbox_lightning.lnd.invoice(5).payment_request)
    stranger = bolt11.encode(read, "11" * 32)
    paid = sandbox_lightning.wallet.pay(stranger)
    assert (paid.status, paid.failure_reason) == (P.FAILED, stubs.lnrpc.FAILURE_REASON_NO_ROUTE)


def test_more_than_the_balance_fails_and_moves_nothing(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    before = wallet.balance_msat()
    paid = wallet.pay(sandbox_lightning.lnd.invoice(20_000_000).payment_request)
    assert (paid.status, paid.failure_reason) == (P.FAILED, stubs.lnrpc.FAILURE_REASON_INSUFFICIENT_BALANCE)
    assert wallet.balance_msat() == before


def test_a_fee_limit_of_zero_finds_only_free_routes(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    sandbox_lightning.command("/fees", base_msat=1_000, ppm=100)
    invoice = lnd.invoice(10_000)
    refused = wallet.pay(invoice.payment_request)
    assert (refused.status, refused.failure_reason) == (P.FAILED, stubs.lnrpc.FAILURE_REASON_NO_ROUTE)
    before = (wallet.balance_msat(), sandbox_lightning.health()["routed_msat"])
    done = wallet.pay(invoice.payment_request, fee_limit_msat=2_000)
    assert (done.status, done.fee_msat) == (P.SUCCEEDED, 2_000)
    assert wallet.balance_msat() == before[0] - 10_002_000
    assert sandbox_lightning.health()["routed_msat"] == before[1] + 2_000
    assert sandbox_lightning.health()["total_msat"] == TOTAL_MSAT


def test_an_unknown_payment_is_not_found(sandbox_lightning: LightningProcess) -> None:
    found = refusal(lambda: sandbox_lightning.wallet.track(bytes(32)))
    assert found == (grpc.StatusCode.NOT_FOUND, "payment isn't initiated")


def test_a_failed_payment_may_be_tried_again_and_replaces_its_record(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(5)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "fail:TIMEOUT")
    assert wallet.pay(invoice.payment_request).failure_reason == stubs.lnrpc.FAILURE_REASON_TIMEOUT
    assert wallet.pay(invoice.payment_request).status == P.SUCCEEDED

    def listed(**asked: Any) -> list[Any]:
        asked_all = stubs.lnrpc.ListPaymentsRequest(**asked)
        answer = wallet.lightning.ListPayments(asked_all, **wallet.auth())
        return [payment for payment in answer.payments if payment.payment_hash == invoice.r_hash.hex()]

    assert [payment.status for payment in listed(include_incomplete=True)] == [P.SUCCEEDED]
    assert len(listed()) == 1


def test_payments_are_listed_in_pages(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    made = [wallet.pay(lnd.invoice(sats).payment_request).payment_index for sats in (1, 2, 3)]
    sandbox_lightning.fault("wallet", "SendPaymentV2", "fail:NO_ROUTE")
    failed = wallet.pay(lnd.invoice(4).payment_request).payment_index

    def page(**asked: Any) -> list[int]:
        answer = wallet.lightning.ListPayments(stubs.lnrpc.ListPaymentsRequest(**asked), **wallet.auth())
        return [payment.payment_index for payment in answer.payments]

    assert page(reversed=True, max_payments=2) == made[-2:]
    assert page(reversed=True, max_payments=2, include_incomplete=True) == [made[-1], failed]
    assert page(index_offset=made[0], max_payments=1) == [made[1]]


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
def test_money_in_flight_is_held_until_it_arrives_or_returns(sandbox_lightning: LightningProcess, outcome: str) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    before = (lnd.balance_msat(), wallet.balance_msat())
    sandbox_lightning.fault("wallet", "SendPaymentV2", "stuck_in_flight")
    invoice = lnd.invoice(30)
    sending = wallet.send(invoice.payment_request)
    assert next(sending).status == P.IN_FLIGHT
    assert refusal(lambda: wallet.send(invoice.payment_request)) == (ALREADY_EXISTS, "payment is in transition")
    assert wallet.balance_msat() == before[1] - 30_000
    assert lnd.balance_msat() == before[0]
    assert sandbox_lightning.health()["total_msat"] == TOTAL_MSAT
    tracking = wallet.track(invoice.r_hash)
    assert next(tracking).status == P.IN_FLIGHT
    payment_hash = invoice.r_hash.hex()
    sandbox_lightning.command("/release", payment_hash=payment_hash, outcome=outcome, reason="NO_ROUTE")
    arrived = outcome == "succeed"
    expected = P.SUCCEEDED if arrived else P.FAILED
    assert [update.status for update in sending] == [expected]
    assert [update.status for update in tracking] == [expected]
    assert wallet.balance_msat() == before[1] - (30_000 if arrived else 0)
    assert lnd.balance_msat() == before[0] + (30_000 if arrived else 0)


def test_an_invoice_settles_late_with_real_money(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(40)
    lnd.client().cancel_invoice(invoice.r_hash)
    before = lnd.balance_msat()
    paid = sandbox_lightning.command("/settle-late", payment_hash=invoice.r_hash.hex())
    assert hashlib.sha256(bytes.fromhex(paid["preimage"])).digest() == invoice.r_hash
    assert lnd.look_up(invoice.r_hash).state == stubs.lnrpc.Invoice.SETTLED
    assert lnd.balance_msat() == before + 40_000
    again = sandbox_lightning.control.post("/settle-late", json={"payment_hash": invoice.r_hash.hex()})
    assert again.status_code == 400


def test_a_customer_can_pay_more_than_asked_but_not_less(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(40)
    asked = {"payment_request": invoice.payment_request}
    less = sandbox_lightning.control.post("/overpay", json={**asked, "amount_msat": 39_999})
    assert less.status_code == 400
    sandbox_lightning.command("/overpay", **asked, amount_msat=55_000)
    settled = lnd.look_up(invoice.r_hash)
    assert (settled.value_msat, settled.amt_paid_msat) == (40_000, 55_000)
