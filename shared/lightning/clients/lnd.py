"""The merchant's lnd: invoices and their settlement, over gRPC, with deadlines and errors that mean something.

What can be raised is drawn in `shared/lightning/clients/faults.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc

from shared.kernel.errors import Conflict, IntegrityFault
from shared.lightning.clients import stubs
from shared.lightning.clients.connection import LndConnection
from shared.lightning.clients.faults import (
    ALREADY_CANCELED,
    ALREADY_EXISTS,
    ALREADY_SETTLED,
    LightningError,
    NodeRefused,
    NodeUnavailable,
    OutcomeUnknown,
    fault_of,
    is_unknown_invoice,
    says,
)
from shared.lightning.model import CancelOutcome, NodeInvoice, NodeInvoiceState

__all__ = [
    "CancelOutcome",
    "InvoiceMismatch",
    "LightningError",
    "LndClient",
    "NodeInfo",
    "NodeInvoice",
    "NodeInvoiceState",
    "NodeRefused",
    "NodeUnavailable",
    "OutcomeUnknown",
]

_PAGE = 100
_STOP_CHECK_S = 0.2


@dataclass(frozen=True)
class NodeInfo:
    """Who the node is. `network` is lnd's word: mainnet, testnet, signet, regtest."""

    pubkey: str
    network: str
    alias: str
    synced: bool


class InvoiceMismatch(LightningError, Conflict):
    """The node holds another invoice under this hash than was asked for; `found` is what it holds."""

    code = "invoice_mismatch"

    def __init__(self, message: str, *, found: NodeInvoice) -> None:
        super().__init__(message)
        self.found = found


class LndClient:
    """One node, one macaroon. Safe to share between threads, and to carry through a fork before its first call.

    `target` is host:port; `tls_cert_pem` the node's own certificate, empty for one signed by a public authority;
    `tls_name` the name to expect in it, where that isn't the host.
    """

    def __init__(
        self, target: str, tls_cert_pem: str, macaroon_hex: str, *, timeout_s: float = 5.0, tls_name: str = ""
    ) -> None:
        self._connection = LndConnection(target, tls_cert_pem, macaroon_hex, tls_name=tls_name)
        self._timeout_s = timeout_s

    def get_info(self) -> NodeInfo:
        """Ask the node who it is."""
        try:
            answer = self._connection.stubs().lightning.GetInfo(stubs.lnrpc.GetInfoRequest(), timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise fault_of(error, doing="GetInfo") from error
        return NodeInfo(
            pubkey=answer.identity_pubkey,
            network=answer.chains[0].network if answer.chains else "",
            alias=answer.alias,
            synced=answer.synced_to_chain,
        )

    def add_invoice(self, *, preimage: bytes, amount_msat: int, memo: str, expiry_s: int) -> str:
        """Make the invoice of this preimage, or find it made, and return its payment request.

        Calling it again with the same arguments is safe, whatever became of the call before. `memo` is at most 1,024
        bytes. Raises `InvoiceMismatch` when the node has the hash with another amount or not open any more,
        `NodeUnavailable` when it can't be told, `NodeRefused` when the node declines.
        """
        payment_hash = hashlib.sha256(preimage).digest()
        wanted = stubs.lnrpc.Invoice(r_preimage=preimage, value_msat=amount_msat, memo=memo, expiry=expiry_s)
        try:
            answer = self._connection.stubs().lightning.AddInvoice(wanted, timeout=self._timeout_s)
        except grpc.RpcError as error:
            return self._adopt(payment_hash, amount_msat, after=error)
        if answer.r_hash != payment_hash:
            raise IntegrityFault("the node made an invoice with another payment hash than its preimage has")
        return str(answer.payment_request)

    def lookup_invoice(self, payment_hash: bytes) -> NodeInvoice | None:
        """Return the invoice, or None when the node says that it has none of this hash."""
        asked = stubs.lnrpc.PaymentHash(r_hash=payment_hash)
        try:
            return _invoice(self._connection.stubs().lightning.LookupInvoice(asked, timeout=self._timeout_s))
        except grpc.RpcError as error:
            if is_unknown_invoice(error):
                return None
            raise fault_of(error, doing="LookupInvoice") from error

    def cancel_invoice(self, payment_hash: bytes) -> CancelOutcome:
        """Make sure that nobody can pay any more; after CANCELED nobody ever will. Safe to repeat."""
        asked = stubs.invoicesrpc.CancelInvoiceMsg(payment_hash=payment_hash)
        try:
            self._connection.stubs().invoices.CancelInvoice(asked, timeout=self._timeout_s)
        except grpc.RpcError as error:
            if says(error, ALREADY_SETTLED):
                return CancelOutcome.ALREADY_SETTLED
            if is_unknown_invoice(error):
                return CancelOutcome.UNKNOWN_INVOICE
            if not says(error, ALREADY_CANCELED):
                raise fault_of(error, doing="CancelInvoice") from error
        return CancelOutcome.CANCELED

    def subscribe_invoices(self, settle_index: int, *, stop: threading.Event) -> Iterator[NodeInvoice]:
        """Yield settlements after `settle_index` as they happen, until `stop` is set.

        An index of 0 means from now on, with no backlog (lnd's rule): catch up with `list_settled_after`. Delivery is
        at least once, in any order. Raises `NodeUnavailable` when the stream breaks, which keepalive notices.
        """
        asked = stubs.lnrpc.InvoiceSubscription(settle_index=settle_index)
        call = self._connection.stubs().lightning.SubscribeInvoices(asked)
        threading.Thread(target=_cancel_when, args=(stop, call), name="lnd-subscription-stop", daemon=True).start()
        try:
            for message in call:
                if message.state == stubs.lnrpc.Invoice.SETTLED:
                    yield _invoice(message)
        except grpc.RpcError as error:
            if stop.is_set():
                return
            fault = fault_of(error, doing="SubscribeInvoices")
            raise (fault if isinstance(fault, NodeRefused) else NodeUnavailable(fault.message)) from error
        finally:
            call.cancel()
        if not stop.is_set():
            raise NodeUnavailable("SubscribeInvoices: the node ended the stream")

    def list_settled_after(
        self, settle_index: int = 0, *, created_from: datetime | None = None, page: int = _PAGE
    ) -> Iterator[NodeInvoice]:
        """Yield every settled invoice with a higher settle index, oldest invoice first.

        lnd lists by creation, so this reads all invoices, `page` at a time, or those made since `created_from`.
        """
        offset = 0
        while True:
            asked = stubs.lnrpc.ListInvoiceRequest(index_offset=offset, num_max_invoices=page)
            if created_from is not None:
                asked.creation_date_start = int(created_from.timestamp())
            try:
                answer = self._connection.stubs().lightning.ListInvoices(asked, timeout=self._timeout_s)
            except grpc.RpcError as error:
                raise fault_of(error, doing="ListInvoices") from error
            for message in answer.invoices:
                if message.state == stubs.lnrpc.Invoice.SETTLED and message.settle_index > settle_index:
                    yield _invoice(message)
            if len(answer.invoices) < page or answer.last_index_offset <= offset:
                return
            offset = answer.last_index_offset

    def close(self) -> None:
        """Close this process's connection, if it has one. A later call opens a new one."""
        self._connection.close()

    def _adopt(self, payment_hash: bytes, amount_msat: int, *, after: grpc.RpcError) -> str:
        """Answer for an AddInvoice that failed: the invoice may exist, from this call or from an earlier one."""
        fault = fault_of(after, doing="AddInvoice")
        if isinstance(fault, NodeRefused):
            raise fault from after
        found = self.lookup_invoice(payment_hash)
        if found is None:
            claims_to_have_it = says(after, ALREADY_EXISTS)
            raise (fault if claims_to_have_it else NodeUnavailable(fault.message)) from after
        if found.value_msat != amount_msat:
            raise InvoiceMismatch(f"the node has it for {found.value_msat} msat, not {amount_msat}", found=found)
        if found.state is not NodeInvoiceState.OPEN:
            raise InvoiceMismatch(f"the node has it {found.state}, not OPEN", found=found)
        return found.payment_request


def _invoice(message: Any) -> NodeInvoice:
    state = NodeInvoiceState(stubs.lnrpc.Invoice.InvoiceState.Name(message.state))
    is_settled = state is NodeInvoiceState.SETTLED
    return NodeInvoice(
        payment_hash=message.r_hash,
        payment_request=message.payment_request,
        state=state,
        value_msat=message.value_msat,
        amt_paid_msat=message.amt_paid_msat if is_settled else 0,
        add_index=message.add_index,
        settle_index=message.settle_index,
        settled_at=datetime.fromtimestamp(message.settle_date, UTC) if is_settled else None,
    )


def _cancel_when(stop: threading.Event, call: Any) -> None:
    """A thread blocked on a stream can't look at an event: this one does, as long as the stream lives."""
    while call.is_active():
        if stop.wait(_STOP_CHECK_S):
            call.cancel()
            return
