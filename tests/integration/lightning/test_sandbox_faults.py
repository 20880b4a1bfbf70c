"""Every fault does what the control plane's page says, as often as was asked."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from lightning_process import LightningProcess, eventually, refusal

from shared.lightning.clients import stubs

P = stubs.lnrpc.Payment
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
INITIATED = 4


def test_unavailable_means_that_nothing_happened(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    before = lnd.invoice(1).add_index
    sandbox_lightning.fault("lnd", "AddInvoice", "unavailable", times=2)
    assert refusal(lambda: lnd.invoice(1))[0] is UNAVAILABLE
    assert refusal(lambda: lnd.invoice(1))[0] is UNAVAILABLE
    assert lnd.invoice(1).add_index == before + 1


def test_delay_is_only_a_delay(sandbox_lightning: LightningProcess) -> None:
    sandbox_lightning.fault("lnd", "GetInfo", "delay", seconds=0.3)
    lnd = sandbox_lightning.lnd
    started = time.monotonic()
    lnd.lightning.GetInfo(stubs.lnrpc.GetInfoRequest(), **lnd.auth())
    assert time.monotonic() - started >= 0.3


def test_hang_lasts_as_long_as_the_caller(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    before = lnd.invoice(1).add_index
    sandbox_lightning.fault("lnd", "AddInvoice", "hang")
    auth = {**lnd.auth(), "timeout": 0.3}
    found = refusal(lambda: lnd.lightning.AddInvoice(stubs.lnrpc.Invoice(value=1), **auth))
    assert found[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert lnd.invoice(1).add_index == before + 1


def test_a_fault_for_any_method_and_one_hash_spares_the_others(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    one, other = lnd.invoice(1), lnd.invoice(2)
    sandbox_lightning.fault("lnd", "*", "unavailable", times=None, payment_hash=one.r_hash.hex())
    assert lnd.look_up(other.r_hash).value == 2
    for _ in range(3):
        assert refusal(lambda: lnd.look_up(one.r_hash))[0] is UNAVAILABLE
    assert sandbox_lightning.wallet.balance_msat() > 0


def test_not_found_hides_what_exists(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    invoice = lnd.invoice(1)
    wallet.pay(invoice.payment_request)
    sandbox_lightning.fault("lnd", "LookupInvoice", "not_found")
    sandbox_lightning.fault("wallet", "TrackPaymentV2", "not_found")
    found = refusal(lambda: lnd.look_up(invoice.r_hash))
    assert found == (grpc.StatusCode.NOT_FOUND, "unable to locate invoice")
    found = refusal(lambda: wallet.track(invoice.r_hash))
    assert found == (grpc.StatusCode.NOT_FOUND, "payment isn't initiated")
    assert lnd.look_up(invoice.r_hash).state == stubs.lnrpc.Invoice.SETTLED
    assert [update.status for update in wallet.track(invoice.r_hash)] == [P.SUCCEEDED]


def test_a_lost_answer_leaves_the_invoice_made(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    before = lnd.invoice(1).add_index
    sandbox_lightning.fault("lnd", "AddInvoice", "drop_after_settle")
    assert refusal(lambda: lnd.invoice(1))[0] is UNAVAILABLE
    assert lnd.invoice(1).add_index == before + 2


def test_a_payment_whose_answer_is_lost_has_been_made(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    invoice = lnd.invoice(60)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "drop_after_settle")
    sending = wallet.send(invoice.payment_request)
    assert next(sending).status == P.IN_FLIGHT
    assert refusal(lambda: sending)[0] is UNAVAILABLE
    assert [update.status for update in wallet.track(invoice.r_hash)] == [P.SUCCEEDED]
    assert lnd.look_up(invoice.r_hash).state == stubs.lnrpc.Invoice.SETTLED


def test_a_payment_may_arrive_after_its_stream_broke(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(60)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "drop_stream", seconds=0.3)
    sending = wallet.send(invoice.payment_request)
    assert next(sending).status == P.IN_FLIGHT
    assert refusal(lambda: sending)[0] is UNAVAILABLE
    assert [update.status for update in wallet.track(invoice.r_hash)] == [P.IN_FLIGHT, P.SUCCEEDED]


def test_an_initiated_payment_has_a_status_the_stubs_do_not_know(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    before = wallet.balance_msat()
    invoice = sandbox_lightning.lnd.invoice(60)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "initiated")
    sending = wallet.send(invoice.payment_request)
    assert next(sending).status == INITIATED
    found = refusal(lambda: wallet.send(invoice.payment_request))
    assert found == (grpc.StatusCode.ALREADY_EXISTS, "payment already exists")
    assert wallet.balance_msat() == before
    sandbox_lightning.command("/release", payment_hash=invoice.r_hash.hex())
    assert [update.status for update in sending] == [P.SUCCEEDED]


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        ("TIMEOUT", 1),
        ("NO_ROUTE", 2),
        ("ERROR", 3),
        ("INCORRECT_PAYMENT_DETAILS", 4),
        ("INSUFFICIENT_BALANCE", 5),
        ("CANCELED", 6),
    ],
)
def test_a_payment_fails_for_each_reason(sandbox_lightning: LightningProcess, reason: str, value: int) -> None:
    sandbox_lightning.fault("wallet", "SendPaymentV2", f"fail:{reason}")
    failed = sandbox_lightning.wallet.pay(sandbox_lightning.lnd.invoice(1).payment_request)
    assert (failed.status, failed.failure_reason) == (P.FAILED, value)


def test_updates_are_doubled(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(1)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "duplicate_events", times=2)
    statuses = [update.status for update in wallet.send(invoice.payment_request)]
    assert statuses == [P.IN_FLIGHT, P.IN_FLIGHT, P.SUCCEEDED, P.SUCCEEDED]
    sandbox_lightning.fault("wallet", "TrackPaymentV2", "duplicate_events")
    assert [update.status for update in wallet.track(invoice.r_hash)] == [P.SUCCEEDED, P.SUCCEEDED]


def test_settlements_are_doubled(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(1)
    stream = lnd.subscribe(add_index=invoice.add_index - 1)
    stream.next()
    sandbox_lightning.fault("lnd", "SubscribeInvoices", "duplicate_events")
    sandbox_lightning.wallet.pay(invoice.payment_request)
    assert stream.next() == stream.next()
    stream.close()


def test_settlements_overtake_each_other(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    one, two = lnd.invoice(1), lnd.invoice(2)
    stream = lnd.subscribe(add_index=two.add_index - 1)
    stream.next()
    sandbox_lightning.fault("lnd", "SubscribeInvoices", "reorder_events", seconds=5)
    wallet.pay(one.payment_request)
    wallet.pay(two.payment_request)
    seen = [stream.next(), stream.next()]
    assert [invoice.r_hash for invoice in seen] == [two.r_hash, one.r_hash]
    stream.close()


def test_a_stream_cut_before_a_settlement_gets_it_on_reconnect(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    earlier, missed = lnd.invoice(1), lnd.invoice(2)
    wallet.pay(earlier.payment_request)
    index = lnd.look_up(earlier.r_hash).settle_index
    stream = lnd.subscribe(settle_index=index - 1) if index > 1 else lnd.subscribe(add_index=missed.add_index - 1)
    stream.next()
    sandbox_lightning.fault("lnd", "SubscribeInvoices", "drop_after_settle")
    wallet.pay(missed.payment_request)
    assert isinstance(stream.next(), grpc.RpcError)
    again = lnd.subscribe(settle_index=index)
    assert again.next().r_hash == missed.r_hash
    again.close()


def test_an_open_stream_is_cut_at_once(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(1)
    stream = lnd.subscribe(add_index=invoice.add_index - 1)
    stream.next()
    sandbox_lightning.fault("lnd", "SubscribeInvoices", "drop_stream")
    broken = stream.next()
    assert isinstance(broken, grpc.RpcError)
    assert not sandbox_lightning.health()["faults"]


def test_tracking_is_cut_after_the_first_update(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(1)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "stuck_in_flight")
    sending = wallet.send(invoice.payment_request)
    next(sending)
    sandbox_lightning.fault("wallet", "TrackPaymentV2", "drop_stream")
    tracking = wallet.track(invoice.r_hash)
    assert next(tracking).status == P.IN_FLIGHT
    assert refusal(lambda: tracking)[0] is UNAVAILABLE
    sandbox_lightning.command("/release", payment_hash=invoice.r_hash.hex(), outcome="fail", reason="TIMEOUT")
    assert [update.status for update in sending] == [P.FAILED]


def test_a_caller_who_leaves_does_not_stop_the_payment(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    invoice = sandbox_lightning.lnd.invoice(1)
    sandbox_lightning.fault("wallet", "SendPaymentV2", "stuck_in_flight")
    sending = wallet.send(invoice.payment_request)
    next(sending)
    sending.cancel()
    sandbox_lightning.command("/release", payment_hash=invoice.r_hash.hex())
    assert eventually(lambda: [update.status for update in wallet.track(invoice.r_hash)] == [P.SUCCEEDED])


@pytest.mark.parametrize(
    "order",
    [
        {"node": "nobody", "method": "AddInvoice", "fault": "unavailable"},
        {"node": "lnd", "method": "AddInvoice", "fault": "stuck_in_flight"},
        {"node": "lnd", "method": "Nothing", "fault": "delay"},
        {"node": "lnd", "method": "SendPaymentV2", "fault": "fail"},
        {"node": "lnd", "method": "SendPaymentV2", "fault": "fail:SADNESS"},
        {"node": "lnd", "method": "AddInvoice", "fault": "delay", "seconds": -1},
        {"node": "lnd", "method": "AddInvoice", "fault": "delay", "times": 0},
        {"node": "lnd", "method": "AddInvoice", "fault": "delay", "payment_hash": "abc"},
        {"node": "lnd", "method": "AddInvoice", "fault": "meteor"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(sandbox_lightning: LightningProcess, order: dict[str, Any]) -> None:
    answer = sandbox_lightning.control.post("/faults", json=order)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert sandbox_lightning.health()["faults"] == []
