"""A macaroon opens what lnd's would open, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest
from lightning_process import LightningProcess, RawNode, refusal
from pymacaroons import MACAROON_V2, Macaroon
from pymacaroons.serializers.binary_serializer import BinarySerializer

from shared.lightning.clients import stubs

HASH = bytes(32)
CALLS: dict[str, Callable[[RawNode, dict[str, Any]], Any]] = {
    "GetInfo": lambda node, auth: node.lightning.GetInfo(stubs.lnrpc.GetInfoRequest(), **auth),
    "ChannelBalance": lambda node, auth: node.lightning.ChannelBalance(stubs.lnrpc.ChannelBalanceRequest(), **auth),
    "ListPayments": lambda node, auth: node.lightning.ListPayments(stubs.lnrpc.ListPaymentsRequest(), **auth),
    "DecodePayReq": lambda node, auth: node.lightning.DecodePayReq(stubs.lnrpc.PayReqString(pay_req="x"), **auth),
    "AddInvoice": lambda node, auth: node.lightning.AddInvoice(stubs.lnrpc.Invoice(value=1), **auth),
    "ListInvoices": lambda node, auth: node.lightning.ListInvoices(stubs.lnrpc.ListInvoiceRequest(), **auth),
    "LookupInvoice": lambda node, auth: node.lightning.LookupInvoice(stubs.lnrpc.PaymentHash(r_hash=HASH), **auth),
    "CancelInvoice": lambda node, auth: node.invoices.CancelInvoice(
        stubs.invoicesrpc.CancelInvoiceMsg(payment_hash=HASH), **auth
    ),
    "SendPaymentV2": lambda node, auth: list(
        node.router.SendPaymentV2(stubs.routerrpc.SendPaymentRequest(payment_request="x"), **auth)
    ),
    "TrackPaymentV2": lambda node, auth: list(
        node.router.TrackPaymentV2(stubs.routerrpc.TrackPaymentRequest(payment_hash=HASH), **auth)
    ),
}
ALLOWED = {
    "macaroon": set(CALLS),
    "macaroon_invoices": {
        "GetInfo",
        "DecodePayReq",
        "AddInvoice",
        "ListInvoices",
        "LookupInvoice",
        "CancelInvoice",
    },
    "macaroon_payments": {"GetInfo", "DecodePayReq", "ListPayments", "SendPaymentV2", "TrackPaymentV2"},
}


@pytest.mark.parametrize("macaroon", ALLOWED)
@pytest.mark.parametrize("name", CALLS)
def test_a_macaroon_opens_exactly_what_it_names(sandbox_lightning: LightningProcess, macaroon: str, name: str) -> None:
    node = sandbox_lightning.lnd
    try:
        CALLS[name](node, node.auth(macaroon))
        denied = False
    except grpc.RpcError as error:
        call: Any = error
        denied = call.code() is grpc.StatusCode.UNKNOWN and call.details() == "permission denied"
    assert denied is (name not in ALLOWED[macaroon])


@pytest.mark.parametrize("name", CALLS)
def test_no_call_works_without_a_macaroon(sandbox_lightning: LightningProcess, name: str) -> None:
    found = refusal(lambda: CALLS[name](sandbox_lightning.lnd, {"timeout": 5}))
    assert found == (grpc.StatusCode.UNKNOWN, "expected 1 macaroon, got 0")


def test_the_other_nodes_macaroon_is_refused(sandbox_lightning: LightningProcess) -> None:
    code, text = refusal(lambda: CALLS["GetInfo"](sandbox_lightning.lnd, sandbox_lightning.wallet.auth()))
    assert code is grpc.StatusCode.UNKNOWN
    assert "permission denied" in text


@pytest.mark.parametrize("junk", ["", "zz", "00", "02" * 40])
def test_junk_is_refused(sandbox_lightning: LightningProcess, junk: str) -> None:
    auth = {"metadata": (("macaroon", junk),), "timeout": 5}
    code, text = refusal(lambda: CALLS["GetInfo"](sandbox_lightning.lnd, auth))
    assert code is grpc.StatusCode.UNKNOWN
    assert "permission denied" in text


def test_a_macaroon_is_lnd_shaped_and_can_be_weakened_but_not_forged(sandbox_lightning: LightningProcess) -> None:
    node = sandbox_lightning.lnd
    genuine: Macaroon = BinarySerializer().deserialize_raw(bytes.fromhex(node.ready["macaroon"]))
    assert genuine.version == MACAROON_V2
    assert genuine.location == "lnd"
    identity = stubs.lnrpc.MacaroonId.FromString(genuine.identifier_bytes[1:])
    assert genuine.identifier_bytes[:1] == b"\x03"
    assert identity.storageId == b"0"

    def with_caveat(caveat: str) -> dict[str, Any]:
        weaker = genuine.copy()
        weaker.add_first_party_caveat(caveat)
        return {"metadata": (("macaroon", BinarySerializer().serialize_raw(weaker).hex()),), "timeout": 5}

    assert CALLS["GetInfo"](node, with_caveat("time-before 2999-01-01T00:00:00Z")).alias == "sandbox-lnd"
    for caveat in ("time-before 2001-01-01T00:00:00Z", "unheard of"):
        assert "permission denied" in refusal(partial(CALLS["GetInfo"], node, with_caveat(caveat)))[1]

    stronger = BinarySerializer().deserialize_raw(bytes.fromhex(node.ready["macaroon_payments"]))
    stronger.identifier = genuine.identifier_bytes
    forged = {"metadata": (("macaroon", BinarySerializer().serialize_raw(stronger).hex()),), "timeout": 5}
    assert "permission denied" in refusal(lambda: CALLS["AddInvoice"](node, forged))[1]
