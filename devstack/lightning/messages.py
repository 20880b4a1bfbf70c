"""Rows of the books as lnrpc messages."""

from __future__ import annotations

from typing import Any

from devstack.lightning.payment_request import PaymentRequest
from devstack.lightning.records import Invoice, Payment, PaymentStatus
from devstack.lightning.stubs import lnrpc

# As lnd names them. Bits of one pair share a name; the even one means "required".
_FEATURE_NAMES = {4: "tlv-onion", 7: "payment-addr", 8: "multi-path-payments"}
INVOICE_FEATURES = (8, 14, 17)
_CHANNEL_ID = 1 << 40 | 1 << 16
_SETTLED_HTLC = 1
_ATTEMPT_STATUS = {PaymentStatus.IN_FLIGHT: 0, PaymentStatus.SUCCEEDED: 1}
_NO_PREIMAGE = "00" * 32


def invoice_message(invoice: Invoice) -> Any:
    """Return an lnrpc.Invoice. As in lnd, it shows the preimage to whoever may read invoices."""
    message = lnrpc.Invoice(
        memo=invoice.memo,
        r_preimage=invoice.preimage,
        r_hash=invoice.payment_hash,
        value=invoice.value_msat // 1000,
        value_msat=invoice.value_msat,
        settled=invoice.is_settled,
        creation_date=invoice.created_at,
        settle_date=invoice.settled_at,
        payment_request=invoice.payment_request,
        description_hash=invoice.description_hash,
        expiry=invoice.expiry_s,
        cltv_expiry=invoice.cltv_expiry,
        private=bool(invoice.is_private),
        add_index=invoice.add_index,
        settle_index=invoice.settle_index,
        amt_paid=invoice.amt_paid_msat,
        amt_paid_sat=invoice.amt_paid_msat // 1000,
        amt_paid_msat=invoice.amt_paid_msat,
        state=lnrpc.Invoice.InvoiceState.Value(invoice.state),
        features=features_message(INVOICE_FEATURES),
        payment_addr=invoice.payment_addr,
    )
    if invoice.is_settled:
        message.htlcs.add(
            chan_id=_CHANNEL_ID,
            amt_msat=invoice.amt_paid_msat,
            accept_time=invoice.settled_at,
            resolve_time=invoice.settled_at,
            state=_SETTLED_HTLC,
            mpp_total_amt_msat=invoice.amt_paid_msat,
        )
    return message


def payment_message(payment: Payment) -> Any:
    """Return an lnrpc.Payment. The preimage is hex, 64 zeros while unknown."""
    is_sent = payment.status in _ATTEMPT_STATUS
    fee_msat = payment.fee_msat if is_sent else 0
    return lnrpc.Payment(
        payment_hash=payment.payment_hash.hex(),
        payment_preimage=payment.preimage.hex() or _NO_PREIMAGE,
        value=payment.value_msat // 1000,
        value_sat=payment.value_msat // 1000,
        value_msat=payment.value_msat,
        fee=fee_msat // 1000,
        fee_sat=fee_msat // 1000,
        fee_msat=fee_msat,
        payment_request=payment.payment_request,
        creation_date=payment.created_ns // 1_000_000_000,
        creation_time_ns=payment.created_ns,
        payment_index=payment.payment_index,
        status=int(payment.status),
        failure_reason=int(payment.failure_reason),
        htlcs=[_attempt(payment)] if is_sent else [],
    )


def payreq_message(request: PaymentRequest) -> Any:
    """Return the lnrpc.PayReq that DecodePayReq answers."""
    return lnrpc.PayReq(
        destination=request.payee,
        payment_hash=request.payment_hash.hex(),
        num_satoshis=request.amount_msat // 1000,
        num_msat=request.amount_msat,
        timestamp=request.created_at,
        expiry=request.expiry_s,
        description=request.memo,
        description_hash=request.description_hash,
        cltv_expiry=request.cltv_expiry,
        payment_addr=request.payment_addr,
        features=features_message(request.feature_bits),
    )


def features_message(bits: tuple[int, ...]) -> dict[int, Any]:
    """Return the feature map of an invoice."""
    return {
        bit: lnrpc.Feature(
            name=_FEATURE_NAMES.get(bit // 2, "unknown"),
            is_required=bit % 2 == 0,
            is_known=bit // 2 in _FEATURE_NAMES,
        )
        for bit in bits
    }


def amount_message(amount_msat: int) -> Any:
    """Return an lnrpc.Amount."""
    return lnrpc.Amount(sat=amount_msat // 1000, msat=amount_msat)


def _attempt(payment: Payment) -> Any:
    total_msat = payment.value_msat + payment.fee_msat
    hop = lnrpc.Hop(
        chan_id=_CHANNEL_ID,
        amt_to_forward=payment.value_msat // 1000,
        amt_to_forward_msat=payment.value_msat,
        fee=payment.fee_msat // 1000,
        fee_msat=payment.fee_msat,
        pub_key=payment.payee,
        tlv_payload=True,
    )
    route = lnrpc.Route(
        total_fees=payment.fee_msat // 1000,
        total_fees_msat=payment.fee_msat,
        total_amt=total_msat // 1000,
        total_amt_msat=total_msat,
        hops=[hop],
    )
    return lnrpc.HTLCAttempt(
        attempt_id=payment.payment_index,
        status=_ATTEMPT_STATUS[payment.status],
        route=route,
        attempt_time_ns=payment.created_ns,
        resolve_time_ns=payment.resolved_ns,
        preimage=payment.preimage,
    )
