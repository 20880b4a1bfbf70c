"""Invoices: signed BOLT11, made once, found, listed, cancelled, expired."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import bolt11
import grpc
import pytest
from lightning_process import LightningProcess, eventually, refusal

from shared.lightning.clients import stubs

UNKNOWN = grpc.StatusCode.UNKNOWN


def test_an_invoice_decodes_with_an_independent_library(sandbox_lightning: LightningProcess) -> None:
    preimage = secrets.token_bytes(32)
    invoice = sandbox_lightning.lnd.invoice(0, value_msat=1_234_567, r_preimage=preimage, memo="thé", expiry=600)
    read = bolt11.decode(invoice.payment_request)
    assert invoice.payment_request.startswith("lnbcrt")
    assert read.payment_hash == hashlib.sha256(preimage).hexdigest() == invoice.r_hash.hex()
    assert (read.amount_msat, read.description, read.expiry) == (1_234_567, "thé", 600)
    assert read.payee == sandbox_lightning.ready["lnd"]["pubkey"]
    assert read.payment_secret == invoice.payment_addr.hex()
    assert read.min_final_cltv_expiry == 80
    assert read.features is not None
    assert read.features.readable == {
        "var_onion_optin": "required",
        "payment_secret": "required",
        "basic_mpp": "supported",
    }


def test_a_tampered_amount_breaks_the_signature(sandbox_lightning: LightningProcess) -> None:
    invoice = sandbox_lightning.lnd.invoice(0, value_msat=100_000)
    _, words = bolt11.decode.__globals__["bech32_decode"](invoice.payment_request)
    forged = bolt11.encode.__globals__["bech32_encode"]("lnbcrt9u", words)
    with pytest.raises(bolt11.Bolt11Exception):
        bolt11.decode(forged)
    assert refusal(lambda: sandbox_lightning.wallet.send(forged))[0] is UNKNOWN


def test_the_node_reads_what_it_signed(sandbox_lightning: LightningProcess) -> None:
    invoice = sandbox_lightning.lnd.invoice(21, memo="", cltv_expiry=40)
    wallet = sandbox_lightning.wallet
    read = wallet.lightning.DecodePayReq(
        stubs.lnrpc.PayReqString(pay_req=invoice.payment_request), **wallet.auth("macaroon_payments")
    )
    assert read.destination == sandbox_lightning.ready["lnd"]["pubkey"]
    assert (read.num_satoshis, read.num_msat, read.cltv_expiry, read.expiry) == (21, 21_000, 40, 86_400)
    assert {bit: feature.name for bit, feature in read.features.items()} == {
        8: "tlv-onion",
        14: "payment-addr",
        17: "multi-path-payments",
    }


def test_a_second_invoice_of_the_same_preimage_is_refused_as_lnd_does(sandbox_lightning: LightningProcess) -> None:
    preimage = secrets.token_bytes(32)
    sandbox_lightning.lnd.invoice(5, r_preimage=preimage)
    found = refusal(lambda: sandbox_lightning.lnd.invoice(5, r_preimage=preimage))
    assert found == (UNKNOWN, "invoice with payment hash already exists")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"memo": "m" * 1025}, "memo too large: 1025 bytes (maxsize=1024)"),
        ({"memo": "m" * 640}, "memo too large"),
        ({"value": -1}, "payments of negative value are not allowed"),
        ({"value": 1, "value_msat": 1000}, "sat and msat arguments are mutually exclusive"),
        ({"r_preimage": b"short"}, "invalid preimage length"),
        ({"expiry": 366 * 86_400}, "greater than max expiry"),
        ({"description_hash": b"short"}, "description hash is 5 bytes, must be 32"),
        ({"cltv_expiry": 3}, "CLTV delta"),
    ],
)
def test_a_bad_field_is_refused(sandbox_lightning: LightningProcess, fields: dict[str, Any], text: str) -> None:
    lnd = sandbox_lightning.lnd
    code, said = refusal(lambda: lnd.lightning.AddInvoice(stubs.lnrpc.Invoice(**fields), **lnd.auth()))
    assert code is UNKNOWN
    assert text in said


def test_the_longest_memo_fits(sandbox_lightning: LightningProcess) -> None:
    invoice = sandbox_lightning.lnd.invoice(1, memo="m" * 639)
    assert bolt11.decode(invoice.payment_request).description == "m" * 639
    hashed = sandbox_lightning.lnd.invoice(1, memo="m" * 1024, description_hash=bytes(range(32)))
    assert bolt11.decode(hashed.payment_request).description_hash == bytes(range(32)).hex()


def test_an_unknown_hash_is_not_found(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    assert refusal(lambda: lnd.look_up(bytes(32))) == (grpc.StatusCode.NOT_FOUND, "unable to locate invoice")
    asked = stubs.invoicesrpc.LookupInvoiceMsg(payment_hash=bytes(32))
    found = refusal(lambda: lnd.invoices.LookupInvoiceV2(asked, **lnd.auth()))
    assert found == (grpc.StatusCode.NOT_FOUND, "unable to locate invoice")
    assert refusal(lambda: lnd.look_up(b"short"))[0] is UNKNOWN


def test_lookup_v2_finds_by_hash_and_by_address(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(3)
    by_hash = stubs.invoicesrpc.LookupInvoiceMsg(payment_hash=invoice.r_hash)
    by_address = stubs.invoicesrpc.LookupInvoiceMsg(payment_addr=invoice.payment_addr)
    assert lnd.invoices.LookupInvoiceV2(by_hash, **lnd.auth()) == invoice
    assert lnd.invoices.LookupInvoiceV2(by_address, **lnd.auth()) == invoice


def test_cancelling_is_idempotent_and_final(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(4)
    asked = stubs.invoicesrpc.CancelInvoiceMsg(payment_hash=invoice.r_hash)
    lnd.invoices.CancelInvoice(asked, **lnd.auth())
    lnd.invoices.CancelInvoice(asked, **lnd.auth())
    assert lnd.look_up(invoice.r_hash).state == stubs.lnrpc.Invoice.CANCELED
    paid = sandbox_lightning.wallet.pay(invoice.payment_request)
    assert paid.failure_reason == stubs.lnrpc.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS


def test_a_settled_invoice_cannot_be_cancelled(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(4)
    sandbox_lightning.wallet.pay(invoice.payment_request)
    asked = stubs.invoicesrpc.CancelInvoiceMsg(payment_hash=invoice.r_hash)
    assert refusal(lambda: lnd.invoices.CancelInvoice(asked, **lnd.auth())) == (UNKNOWN, "invoice already settled")
    nobody = stubs.invoicesrpc.CancelInvoiceMsg(payment_hash=bytes(32))
    assert refusal(lambda: lnd.invoices.CancelInvoice(nobody, **lnd.auth())) == (UNKNOWN, "unable to locate invoice")


def test_an_unpaid_invoice_is_cancelled_when_it_expires(sandbox_lightning: LightningProcess) -> None:
    lnd = sandbox_lightning.lnd
    invoice = lnd.invoice(4, expiry=1)
    assert invoice.state == stubs.lnrpc.Invoice.OPEN
    assert eventually(lambda: lnd.look_up(invoice.r_hash).state == stubs.lnrpc.Invoice.CANCELED)
    code, text = refusal(lambda: sandbox_lightning.wallet.send(invoice.payment_request))
    assert code is UNKNOWN
    assert text.startswith("invoice expired. Valid until 2")
    assert text.endswith(" +0000 UTC")


def test_lists_page_forward_and_backward(sandbox_lightning: LightningProcess) -> None:
    wallet = sandbox_lightning.wallet
    made = [wallet.invoice(sats).add_index for sats in range(1, 6)]

    def page(**asked: Any) -> list[int]:
        answer = wallet.lightning.ListInvoices(stubs.lnrpc.ListInvoiceRequest(**asked), **wallet.auth())
        found = [invoice.add_index for invoice in answer.invoices]
        if found:
            assert (answer.first_index_offset, answer.last_index_offset) == (found[0], found[-1])
        return found

    assert page(reversed=True, num_max_invoices=2) == made[-2:]
    assert page(reversed=True, num_max_invoices=2, index_offset=made[3]) == made[1:3]
    assert page(index_offset=made[0], num_max_invoices=3) == made[1:4]
    assert page(index_offset=made[-1]) == []
    assert page(index_offset=made[0] - 1, pending_only=True) == made
