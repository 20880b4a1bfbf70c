"""Money out, on a real lnd: every state of its payments that it can be brought into from outside."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.lightning.clients.faults import PaymentNotSent
from shared.lightning.clients.lnd_payments import LndPayments
from shared.lightning.model import NodePaymentState
from tests.e2e.patience import eventually
from tests.lnd.regtest import Nodes
from tests.lnd.shop import Shop

SEND = {"fee_limit_msat": 1000, "timeout_s": 30, "deadline_s": 20.0}


@pytest.fixture
def payments(nodes: Nodes) -> Iterator[LndPayments]:
    """The merchant's paying side."""
    merchant = nodes.merchant
    opened = LndPayments(merchant.grpc, Path(merchant.tls_cert).read_text(encoding="ascii"), merchant.macaroon)
    yield opened
    opened.close()


def test_a_refund_is_paid_and_told_again(shop: Shop) -> None:
    job_id, sats = shop.bought()
    made = shop.wallet.invoice(sats)
    answer = shop.claim(job_id, made["payment_request"])
    shop.until_paid(job_id, made["payment_request"])
    assert answer.json()["paymentHash"] == made["payment_hash"]
    assert shop.claim(job_id, shop.wallet.invoice(sats)["payment_request"]).json()["code"] == "already_paid"


def test_an_invoice_that_its_payee_cancelled_fails_and_another_is_paid(shop: Shop, nodes: Nodes) -> None:
    job_id, sats = shop.bought()
    made = shop.wallet.invoice(sats)
    nodes.customer.cancel(bytes.fromhex(made["payment_hash"]))

    def failed() -> bool:
        answer = shop.claim(job_id, made["payment_request"])
        return answer.status_code == 500 and answer.json()["code"] == "payment_failed"

    eventually(failed, what="a payment that has failed", within_s=90)
    shop.until_paid(job_id, shop.wallet.invoice(sats)["payment_request"])


@pytest.mark.parametrize("outcome", ["settled", "cancelled"])
def test_an_htlc_that_is_held_is_in_flight_until_its_holder_decides(shop: Shop, nodes: Nodes, outcome: str) -> None:
    job_id, sats = shop.bought()
    preimage = secrets.token_bytes(32)
    payment_hash = hashlib.sha256(preimage).digest()
    held = nodes.customer.hold_invoice(sats, payment_hash)
    assert shop.claim(job_id, held).json()["message"] == "payment in flight"
    other = shop.wallet.invoice(sats)["payment_request"]
    assert shop.claim(job_id, other).json()["code"] == "payout_open"
    _await_accepted(nodes, payment_hash)
    if outcome == "settled":
        nodes.customer.settle(preimage)
        shop.until_paid(job_id, held)
        return
    nodes.customer.cancel(payment_hash)
    eventually(lambda: shop.claim(job_id, held).status_code == 500, what="a payment that has failed", within_s=120)
    shop.until_paid(job_id, other)


def test_a_node_that_is_killed_with_a_payment_in_flight_goes_on_with_it(shop: Shop, nodes: Nodes) -> None:
    if nodes.process is None:
        pytest.skip("these nodes are not ours to kill")
    job_id, sats = shop.bought()
    preimage = secrets.token_bytes(32)
    held = nodes.customer.hold_invoice(sats, hashlib.sha256(preimage).digest())
    assert shop.claim(job_id, held).json()["message"] == "payment in flight"
    _await_accepted(nodes, hashlib.sha256(preimage).digest())
    nodes.process.kill()
    nodes.process.start().close()
    eventually(nodes.merchant.is_synced, what="a node that is synced", within_s=120)
    nodes.customer.settle(preimage)
    shop.until_paid(job_id, held)


def test_a_worker_that_is_killed_with_a_payment_in_flight_is_succeeded(shop: Shop, nodes: Nodes) -> None:
    job_id, sats = shop.bought()
    preimage = secrets.token_bytes(32)
    held = nodes.customer.hold_invoice(sats, hashlib.sha256(preimage).digest())
    assert shop.claim(job_id, held).json()["message"] == "payment in flight"
    worker = shop.stack.process("worker-payout")
    worker.kill()
    worker.start()
    _await_accepted(nodes, hashlib.sha256(preimage).digest())
    nodes.customer.settle(preimage)
    shop.until_paid(job_id, held)


def test_an_invoice_of_our_own_node_is_not_paid(shop: Shop, nodes: Nodes) -> None:
    job_id, sats = shop.bought()
    own = nodes.merchant.post("/v1/invoices", value=str(sats))["payment_request"]
    eventually(lambda: shop.claim(job_id, own).status_code == 500, what="a refused payout", within_s=60)
    shop.until_paid(job_id, shop.wallet.invoice(sats)["payment_request"])


# -- the client against lnd's own words


def test_a_payment_is_made_once_and_a_second_send_is_told_that_the_node_has_it(
    payments: LndPayments, nodes: Nodes
) -> None:
    made = nodes.customer.post("/v1/invoices", value="20")
    payment_hash = base64.b64decode(made["r_hash"])
    assert payments.track_payment(payment_hash) is None
    first = payments.send_payment(made["payment_request"], stop=threading.Event(), **SEND)
    assert first is not None
    assert first.state is NodePaymentState.SUCCEEDED
    assert first.preimage is not None
    assert hashlib.sha256(first.preimage).digest() == payment_hash
    assert payments.send_payment(made["payment_request"], stop=threading.Event(), **SEND) is None
    tracked = payments.track_payment(payment_hash)
    assert tracked is not None
    assert (tracked.state, tracked.preimage) == (NodePaymentState.SUCCEEDED, first.preimage)


def test_an_expired_invoice_is_known_not_to_be_sent(payments: LndPayments, nodes: Nodes) -> None:
    made = nodes.customer.post("/v1/invoices", value="20", expiry="1")
    threading.Event().wait(2.5)  # nothing announces that an invoice has expired
    with pytest.raises(PaymentNotSent, match="expired"):
        payments.send_payment(made["payment_request"], stop=threading.Event(), **SEND)
    assert payments.track_payment(base64.b64decode(made["r_hash"])) is None


def test_a_payment_to_oneself_is_known_not_to_be_sent(payments: LndPayments, nodes: Nodes) -> None:
    own = nodes.merchant.post("/v1/invoices", value="20")["payment_request"]
    decoded = payments.decode_payment_request(own)
    assert decoded is not None
    assert decoded.is_own
    with pytest.raises(PaymentNotSent, match="self-payments"):
        payments.send_payment(own, stop=threading.Event(), **SEND)


def test_what_the_node_cannot_read_is_none(payments: LndPayments) -> None:
    assert payments.decode_payment_request("lnbcrt1notaninvoice") is None


def _await_accepted(nodes: Nodes, payment_hash: bytes) -> None:
    """Wait until the HTLC has reached the customer's node."""

    def accepted() -> bool:
        return str(nodes.customer.get(f"/v1/invoice/{payment_hash.hex()}")["state"]) == "ACCEPTED"

    eventually(accepted, what="an HTLC that is held", within_s=60)
