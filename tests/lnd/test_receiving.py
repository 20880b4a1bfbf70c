"""Money in, on a real lnd."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from shared.lightning.clients.lnd import InvoiceMismatch, LndClient
from shared.lightning.model import CancelOutcome, NodeInvoiceState
from tests.e2e.patience import eventually
from tests.lnd.regtest import Nodes
from tests.lnd.shop import Shop


def client(nodes: Nodes) -> LndClient:
    with open(nodes.merchant.tls_cert, encoding="ascii") as cert:  # noqa: PTH123 - a path as a text
        return LndClient(nodes.merchant.grpc, cert.read(), nodes.merchant.macaroon)


def test_a_job_is_paid_twice_and_done(shop: Shop) -> None:
    job_id, owed_sats = shop.bought()
    assert owed_sats > 0
    assert shop.ledger.book(job_id).earned_eval == 10_000


def test_an_invoice_is_made_once_however_often_it_is_asked_for(nodes: Nodes) -> None:
    node, preimage = client(nodes), hashlib.sha256(b"once").digest()
    made = node.add_invoice(preimage=preimage, amount_msat=10_000, memo="once", expiry_s=600)
    assert node.add_invoice(preimage=preimage, amount_msat=10_000, memo="once", expiry_s=600) == made
    with pytest.raises(InvoiceMismatch):
        node.add_invoice(preimage=preimage, amount_msat=11_000, memo="once", expiry_s=600)
    payment_hash = hashlib.sha256(preimage).digest()
    assert node.cancel_invoice(payment_hash) is CancelOutcome.CANCELED
    assert node.cancel_invoice(payment_hash) is CancelOutcome.CANCELED
    found = node.lookup_invoice(payment_hash)
    assert found is not None
    assert found.state is NodeInvoiceState.CANCELED
    node.close()


def test_what_the_node_does_not_know_it_says_so_about(nodes: Nodes) -> None:
    node = client(nodes)
    assert node.lookup_invoice(b"\x01" * 32) is None
    assert node.cancel_invoice(b"\x01" * 32) is CancelOutcome.UNKNOWN_INVOICE
    node.close()


def test_a_settlement_while_the_listener_was_away_is_credited(shop: Shop) -> None:
    created = shop.order()
    listener = shop.stack.process("invoices")
    listener.kill()
    shop.wallet.pay(created["evalInvoice"]["paymentRequest"])
    listener.start()
    shop.reach(created["jobId"], "awaiting_work_payment")


def test_a_node_that_is_killed_and_comes_back_is_found_again(shop: Shop, nodes: Nodes) -> None:
    if nodes.process is None:
        pytest.skip("these nodes are not ours to kill")
    created = shop.order()
    nodes.process.kill()
    nodes.process.start().close()
    eventually(nodes.merchant.is_synced, what="a node that is synced", within_s=120)
    eventually(lambda: _has_active_channel(nodes), what="an active channel", within_s=120)
    shop.wallet.pay(created["evalInvoice"]["paymentRequest"])
    shop.reach(created["jobId"], "awaiting_work_payment")


def _has_active_channel(nodes: Nodes) -> bool:
    try:
        return bool(nodes.customer.get("/v1/channels", active_only="true")["channels"])
    except httpx.HTTPError:
        return False
