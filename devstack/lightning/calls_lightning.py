"""lnrpc.Lightning: the node, its balances, its invoices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from devstack.lightning.dispatch import Call, Node, Rpc
from devstack.lightning.faults import FaultKind
from devstack.lightning.hub import Subscription
from devstack.lightning.invoices import Page, Wanted
from devstack.lightning.messages import amount_message, invoice_message, payment_message, payreq_message
from devstack.lightning.payment_request import read
from devstack.lightning.records import Invoice
from devstack.lightning.refusal import Refused
from devstack.lightning.stubs import lnrpc

SERVICE = "lnrpc.Lightning"
VERSION = "0.17.0-beta sandbox"
_LIST_LIMIT = 100
_WAIT_S = 0.25
_OVERTAKE_S = 0.5


def lightning_rpcs(node: Node) -> list[Rpc]:
    """Return the table of this service's methods, answered by `node`."""
    calls = _Calls(node)
    rpc = partial(Rpc, SERVICE)
    return [
        rpc("GetInfo", "info", "read", lnrpc.GetInfoRequest, lnrpc.GetInfoResponse, calls.get_info),
        rpc(
            "ChannelBalance",
            "offchain",
            "read",
            lnrpc.ChannelBalanceRequest,
            lnrpc.ChannelBalanceResponse,
            calls.channel_balance,
        ),
        rpc(
            "WalletBalance",
            "onchain",
            "read",
            lnrpc.WalletBalanceRequest,
            lnrpc.WalletBalanceResponse,
            calls.wallet_balance,
        ),
        rpc("DecodePayReq", "offchain", "read", lnrpc.PayReqString, lnrpc.PayReq, calls.decode_pay_req),
        rpc(
            "AddInvoice",
            "invoices",
            "write",
            lnrpc.Invoice,
            lnrpc.AddInvoiceResponse,
            calls.add_invoice,
            subject=lambda request: hashlib.sha256(request.r_preimage).digest() if request.r_preimage else None,
        ),
        rpc(
            "LookupInvoice",
            "invoices",
            "read",
            lnrpc.PaymentHash,
            lnrpc.Invoice,
            calls.lookup_invoice,
            subject=_named_hash,
        ),
        rpc(
            "ListInvoices",
            "invoices",
            "read",
            lnrpc.ListInvoiceRequest,
            lnrpc.ListInvoiceResponse,
            calls.list_invoices,
        ),
        rpc(
            "ListPayments",
            "offchain",
            "read",
            lnrpc.ListPaymentsRequest,
            lnrpc.ListPaymentsResponse,
            calls.list_payments,
        ),
        rpc(
            "SubscribeInvoices",
            "invoices",
            "read",
            lnrpc.InvoiceSubscription,
            lnrpc.Invoice,
            calls.subscribe_invoices,
            streams=True,
        ),
    ]


def msat_of(sat: int, msat: int) -> int:
    """Return the amount that lnd's twin fields mean. Raises `Refused` when both are used."""
    if sat and msat:
        raise Refused("sat and msat arguments are mutually exclusive")
    return int(msat or sat * 1000)


class _Calls:
    def __init__(self, node: Node) -> None:
        self._node = node

    def get_info(self, _request: Any, _call: Call) -> Any:
        return lnrpc.GetInfoResponse(
            version=VERSION,
            identity_pubkey=self._node.identity.pubkey,
            alias=f"sandbox-{self._node.name}",
            num_active_channels=1,
            num_peers=1,
            synced_to_chain=True,
            synced_to_graph=True,
            block_hash="00" * 32,
            chains=[lnrpc.Chain(chain="bitcoin", network="regtest")],
        )

    def channel_balance(self, _request: Any, _call: Call) -> Any:
        local_msat = self._node.balance_msat(self._node.name)
        return lnrpc.ChannelBalanceResponse(
            balance=local_msat // 1000,
            local_balance=amount_message(local_msat),
            remote_balance=amount_message(self._node.balance_msat(self._node.peer)),
            unsettled_local_balance=amount_message(self._node.held_msat(self._node.name)),
            unsettled_remote_balance=amount_message(self._node.held_msat(self._node.peer)),
        )

    def wallet_balance(self, _request: Any, _call: Call) -> Any:
        return lnrpc.WalletBalanceResponse()

    def decode_pay_req(self, request: Any, _call: Call) -> Any:
        return payreq_message(read(request.pay_req))

    def add_invoice(self, request: Any, _call: Call) -> Any:
        wanted = Wanted(
            value_msat=msat_of(request.value, request.value_msat),
            preimage=request.r_preimage,
            memo=request.memo,
            description_hash=request.description_hash,
            expiry_s=request.expiry,
            cltv_expiry=request.cltv_expiry,
            is_private=request.private,
        )
        if request.is_amp or request.is_keysend:
            raise Refused("the sandbox makes ordinary invoices only")
        invoice = self._node.invoices.add(self._node.name, self._node.identity.key, wanted)
        return lnrpc.AddInvoiceResponse(
            r_hash=invoice.payment_hash,
            payment_request=invoice.payment_request,
            add_index=invoice.add_index,
            payment_addr=invoice.payment_addr,
        )

    def lookup_invoice(self, request: Any, _call: Call) -> Any:
        payment_hash = _named_hash(request)
        if payment_hash is None:
            raise Refused(f"payment hash must be exactly 32 bytes, is instead {len(request.r_hash)}")
        return invoice_message(self._node.invoices.find(self._node.name, payment_hash))

    def list_invoices(self, request: Any, _call: Call) -> Any:
        page = _page(request, request.num_max_invoices or _LIST_LIMIT)
        found = self._node.invoices.page(self._node.name, page, pending_only=request.pending_only)
        return lnrpc.ListInvoiceResponse(
            invoices=map(invoice_message, found),
            first_index_offset=found[0].add_index if found else 0,
            last_index_offset=found[-1].add_index if found else 0,
        )

    def list_payments(self, request: Any, _call: Call) -> Any:
        page = _page(request, request.max_payments or -1)
        found = self._node.payments.page(self._node.name, page, include_incomplete=request.include_incomplete)
        return lnrpc.ListPaymentsResponse(
            payments=map(payment_message, found),
            first_index_offset=found[0].payment_index if found else 0,
            last_index_offset=found[-1].payment_index if found else 0,
            total_num_payments=self._node.payments.count(self._node.name) if request.count_total_payments else 0,
        )

    def subscribe_invoices(self, request: Any, call: Call) -> Iterator[Any]:
        subscription = self._node.invoices.follow(
            self._node.name, add_index=request.add_index, settle_index=request.settle_index
        )
        try:
            yield from map(invoice_message, self._events(subscription, call))
        finally:
            self._node.hub.detach(subscription)

    def _events(self, subscription: Subscription, call: Call) -> Iterator[Invoice]:
        while call.is_active():
            call.cut_on(FaultKind.DROP_STREAM)
            event = self._node.hub.take(subscription, timeout_s=_WAIT_S)
            if event is None:
                continue
            if event.is_settled:
                call.cut_on(FaultKind.DROP_AFTER_SETTLE, payment_hash=event.payment_hash)
            late = call.fault(FaultKind.REORDER_EVENTS, payment_hash=event.payment_hash)
            if late is not None:
                wait_s = _OVERTAKE_S if late.seconds is None else late.seconds
                overtaking = self._node.hub.take(subscription, timeout_s=wait_s)
                if overtaking is not None:
                    yield overtaking
            yield event
            if call.fault(FaultKind.DUPLICATE_EVENTS, payment_hash=event.payment_hash) is not None:
                yield event


def _named_hash(request: Any) -> bytes | None:
    """LookupInvoice takes bytes, or the deprecated hex string (which REST uses)."""
    if request.r_hash:
        found = bytes(request.r_hash)
    else:
        try:
            found = bytes.fromhex(request.r_hash_str)
        except ValueError:
            return None
    return found if len(found) == 32 else None


def _page(request: Any, limit: int) -> Page:
    return Page(
        offset=request.index_offset,
        limit=limit,
        is_reversed=request.reversed,
        created_from=request.creation_date_start,
        created_until=request.creation_date_end,
    )
