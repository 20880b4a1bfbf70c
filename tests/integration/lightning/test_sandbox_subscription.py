"""SubscribeInvoices: lnd's index rules, to the letter."""

from __future__ import annotations

import grpc
import pytest
from lightning_process import LightningProcess

from shared.lightning.clients import stubs

OPEN, SETTLED = stubs.lnrpc.Invoice.OPEN, stubs.lnrpc.Invoice.SETTLED


def test_an_index_of_zero_means_no_backlog(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    earlier = lnd.invoice(1)
    wallet.pay(earlier.payment_request)
    marker = lnd.invoice(2)
    stream = lnd.subscribe(add_index=marker.add_index - 1, settle_index=0)
    assert stream.next().r_hash == marker.r_hash
    wallet.pay(marker.payment_request)
    settled = stream.next()
    assert (settled.r_hash, settled.state) == (marker.r_hash, SETTLED)
    stream.close()


def test_settlements_after_an_index_are_replayed_in_order(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    made = [lnd.invoice(sats) for sats in (1, 2, 3)]
    for invoice in reversed(made):
        wallet.pay(invoice.payment_request)
    first = lnd.look_up(made[-1].r_hash).settle_index
    stream = lnd.subscribe(settle_index=first)
    seen = [stream.next(), stream.next()]
    assert [invoice.r_hash for invoice in seen] == [made[1].r_hash, made[0].r_hash]
    assert [invoice.settle_index for invoice in seen] == [first + 1, first + 2]
    stream.close()


def test_additions_and_settlements_are_announced_and_nothing_else(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    marker = lnd.invoice(1)
    stream = lnd.subscribe(add_index=marker.add_index - 1)
    assert stream.next().add_index == marker.add_index
    dropped, paid = lnd.invoice(7), lnd.invoice(8)
    lnd.client().cancel_invoice(dropped.r_hash)
    wallet.pay(paid.payment_request)
    seen = [stream.next() for _ in range(3)]
    assert [(invoice.r_hash, invoice.state) for invoice in seen] == [
        (dropped.r_hash, OPEN),
        (paid.r_hash, OPEN),
        (paid.r_hash, SETTLED),
    ]
    wallet.invoice(9)
    assert stream.is_quiet()
    stream.close()


def test_the_backlog_of_additions_shows_them_as_they_are_now(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    paid, dropped, still_open = lnd.invoice(1), lnd.invoice(2), lnd.invoice(3)
    wallet.pay(paid.payment_request)
    lnd.client().cancel_invoice(dropped.r_hash)
    stream = lnd.subscribe(add_index=paid.add_index - 1)
    assert [(invoice.r_hash, invoice.state) for invoice in (stream.next(), stream.next())] == [
        (paid.r_hash, SETTLED),
        (still_open.r_hash, OPEN),
    ]
    stream.close()


@pytest.mark.parametrize("streams", [20])
def test_many_streams_hear_one_settlement(sandbox_lightning: LightningProcess, streams: int) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(1)
    listening = [lnd.subscribe(add_index=invoice.add_index - 1) for _ in range(streams)]
    assert all(stream.next().state == OPEN for stream in listening)
    sandbox_lightning.wallet.pay(invoice.payment_request)
    assert all(stream.next().state == SETTLED for stream in listening)
    for stream in listening:
        stream.close()


def test_taking_the_node_down_breaks_its_streams_and_only_its(sandbox_lightning: LightningProcess) -> None:
    lnd, wallet = sandbox_lightning.lnd, sandbox_lightning.wallet
    here, there = lnd.invoice(1), wallet.invoice(1)
    broken = lnd.subscribe(add_index=here.add_index - 1)
    whole = wallet.subscribe(add_index=there.add_index - 1)
    assert broken.next().r_hash == here.r_hash
    assert whole.next().r_hash == there.r_hash
    sandbox_lightning.command("/down", node="lnd", down=True)
    assert isinstance(broken.next(), grpc.RpcError)
    assert sandbox_lightning.health()["nodes"]["lnd"]["down"] is True
    another = wallet.invoice(2)
    assert whole.next().r_hash == another.r_hash
    sandbox_lightning.command("/down", node="lnd", down=False)
    answer = lnd.lightning.GetInfo(stubs.lnrpc.GetInfoRequest(), wait_for_ready=True, **lnd.auth())
    assert answer.identity_pubkey == sandbox_lightning.ready["lnd"]["pubkey"]
    whole.close()
