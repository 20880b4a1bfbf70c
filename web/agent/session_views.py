"""Sessions as the contract shows them: a pure function of what the service knows."""

from __future__ import annotations

from typing import Any

from shared.agent.sessions.model import (
    RequestState,
    RequestView,
    Session,
    SessionInvoice,
    SessionState,
    SessionView,
)
from shared.kernel.money import whole_sats
from shared.lightning.model import Payout
from web.agent.views import instant


def session_created(view: SessionView, *, claim_token: str, is_sandbox: bool) -> dict[str, Any]:
    """Return the answer to a creation. The service answers only once the invoice is there."""
    session = view.session
    return {
        "sessionId": session.public_id,
        "state": str(session.state),
        "invoice": invoice_shown(view.invoice, is_sandbox=is_sandbox),
        "createdAt": instant(session.created_at),
        "expiresAt": _expiry(view),
        "claimToken": claim_token,
    }


def session_status(view: SessionView, *, minimum_sats: int, is_sandbox: bool) -> dict[str, Any]:
    """Return a session as it stands; what is absent is left out."""
    session = view.session
    has_ended = session.state is SessionState.EXPIRED
    shown: dict[str, Any] = {
        "sessionId": session.public_id,
        "state": str(session.state),
        "balanceSats": view.balance_sats,
        "availableSats": view.balance_sats - view.reserved_sats,
        "minimumBalanceSats": minimum_sats,
        "macaroon": view.macaroon,
        "macaroonWithheld": view.withheld or None,
        "createdAt": instant(session.created_at),
        "expiresAt": _expiry(view),
        "invoice": invoice_shown(view.invoice, is_sandbox=is_sandbox),
        "pendingTopup": invoice_shown(view.topup, is_sandbox=is_sandbox),
        "withdrawableSats": view.owed_sats if has_ended else None,
        "withdrawal": _withdrawal(view.payout),
    }
    return {name: value for name, value in shown.items() if value is not None}


def topup_asked(session: Session, invoice: SessionInvoice, *, is_sandbox: bool) -> dict[str, Any]:
    """Return the answer to a top-up."""
    return {"sessionId": session.public_id, "topup": invoice_shown(invoice, is_sandbox=is_sandbox)}


def request_status(view: RequestView) -> dict[str, Any]:
    """Return a request as it stands or ended."""
    request = view.request
    eval_sats, work_sats = whole_sats(request.eval_msat), whole_sats(request.work_msat)
    cost = {
        "evalSats": eval_sats,
        "workSats": work_sats,
        "totalSats": eval_sats + work_sats,
        "btcPriceUsd": request.btc_price_usd,
    }
    shown = {
        "requestId": request.public_id,
        "state": str(request.state),
        "result": request.result,
        "reason": request.reason if request.state is RequestState.REJECTED else None,
        "errorMessage": request.error_message,
        "debitedSats": eval_sats + work_sats,
        "balanceRemaining": view.balance_sats,
        "cost": cost if view.has_ended else None,
        "reservedSats": None if view.has_ended else whole_sats(request.reserved_msat),
        "createdAt": instant(request.created_at),
        "receiptId": view.receipt_id,
    }
    return {name: value for name, value in shown.items() if value is not None}


def invoice_shown(invoice: SessionInvoice | None, *, is_sandbox: bool) -> dict[str, Any] | None:
    """Return an invoice as its payer sees it; the payment hash only where the money is a sandbox's."""
    if invoice is None:
        return None
    shown = {
        "paymentRequest": invoice.payment_request,
        "amountSats": invoice.amount_sats,
        "expiresAt": instant(invoice.expires_at),
        "uri": f"lightning:{invoice.payment_request.lower()}",
        "qr": f"LIGHTNING:{invoice.payment_request.upper()}",
    }
    return {**shown, "paymentHash": invoice.payment_hash.hex()} if is_sandbox else shown


def _expiry(view: SessionView) -> str:
    """While a payment is awaited its invoice's end, then the end of the idle time, and last the moment when it ended."""
    if view.invoice is not None and view.session.state is SessionState.AWAITING_PAYMENT:
        return instant(view.invoice.expires_at)
    return instant(view.session.ended_at or view.session.expires_at)


def _withdrawal(payout: Payout | None) -> dict[str, Any] | None:
    if payout is None:
        return None
    return {
        "state": str(payout.state),
        "amountSats": whole_sats(payout.amount_msat),
        "paymentHash": payout.payment_hash.hex(),
    }
