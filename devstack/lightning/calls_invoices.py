"""invoicesrpc.Invoices: cancel, and look up by payment hash or payment address."""

from __future__ import annotations

from functools import partial
from typing import Any

from devstack.lightning.dispatch import Call, Node, Rpc
from devstack.lightning.messages import invoice_message
from devstack.lightning.refusal import Refused
from devstack.lightning.stubs import invoicesrpc, lnrpc

SERVICE = "invoicesrpc.Invoices"


def invoices_rpcs(node: Node) -> list[Rpc]:
    """Return the table of this service's methods, answered by `node`. In lnd, LookupInvoiceV2 needs write."""
    rpc = partial(Rpc, SERVICE, entity="invoices", action="write", subject=lambda request: request.payment_hash)
    return [
        rpc(
            name="CancelInvoice",
            request=invoicesrpc.CancelInvoiceMsg,
            response=invoicesrpc.CancelInvoiceResp,
            answer=partial(_cancel, node),
        ),
        rpc(
            name="LookupInvoiceV2",
            request=invoicesrpc.LookupInvoiceMsg,
            response=lnrpc.Invoice,
            answer=partial(_look_up, node),
        ),
    ]


def _cancel(node: Node, request: Any, _call: Call) -> Any:
    _check_length(request.payment_hash)
    node.invoices.cancel(node.name, request.payment_hash)
    return invoicesrpc.CancelInvoiceResp()


def _look_up(node: Node, request: Any, _call: Call) -> Any:
    if request.WhichOneof("invoice_ref") == "payment_addr":
        return invoice_message(node.invoices.find_by_address(node.name, request.payment_addr))
    _check_length(request.payment_hash)
    return invoice_message(node.invoices.find(node.name, request.payment_hash))


def _check_length(payment_hash: bytes) -> None:
    if len(payment_hash) != 32:
        raise Refused(f"invalid hash length of {len(payment_hash)}, want 32")
