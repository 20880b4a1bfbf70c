"""Jobs as the contract shows them: a pure function of what the service knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shared.agent.model import CostLedger, Estimate, Invoiced, JobState, JobView
from shared.kernel.money import whole_sats
from shared.lightning.model import Payout, PayoutState


def job_created(view: JobView, *, claim_token: str) -> dict[str, Any]:
    """Return the answer to a creation. The service answers only once the invoice is there."""
    return {
        "jobId": view.job.public_id,
        "evalInvoice": invoice_shown(view.eval_invoice) if view.eval_invoice else None,
        "claimToken": claim_token,
        "state": str(view.job.state),
        "createdAt": instant(view.job.created_at),
    }


def job_status(view: JobView) -> dict[str, Any]:
    """Return a job as it stands, with the members of its state; what is absent is left out."""
    job = view.job
    shown: dict[str, Any] = {}
    match job.state:
        case JobState.AWAITING_EVAL_PAYMENT:
            shown = {"evalInvoice": invoice_shown(view.eval_invoice)}
        case JobState.AWAITING_WORK_PAYMENT:
            shown = {"workInvoice": invoice_shown(view.work_invoice), "pricingBreakdown": _pricing(job.estimate)}
        case JobState.REJECTED:
            shown = {"reason": job.reason or "", "costLedger": _ledger(view.cost)}
        case JobState.COMPLETE:
            shown = {"result": job.result or "", "costLedger": _ledger(view.cost)}
        case JobState.FAILED:
            shown = {"errorMessage": job.error_message or "the job failed", "costLedger": _ledger(view.cost)}
        case JobState.EVALUATING | JobState.EXECUTING:
            pass
    common = {"jobId": job.public_id, "state": str(job.state), "createdAt": instant(job.created_at)}
    present = {**common, **shown, "refundPayment": _payment(view.payout), "receiptId": view.receipt_id}
    return {name: value for name, value in present.items() if value is not None}


def instant(at: datetime) -> str:
    """Return an ISO 8601 UTC time to the second, as clients parse it everywhere."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def invoice_shown(invoice: Invoiced | None) -> dict[str, Any] | None:
    """Return an invoice as its payer needs it, with links; None for none."""
    if invoice is None:
        return None
    return {
        "paymentRequest": invoice.payment_request,
        "amountSats": invoice.amount_sats,
        "expiresAt": instant(invoice.expires_at),
        "uri": f"lightning:{invoice.payment_request.lower()}",
        "qr": f"LIGHTNING:{invoice.payment_request.upper()}",
    }


def _payment(payout: Payout | None) -> dict[str, Any] | None:
    if payout is None:
        return None
    return {
        "state": str(payout.state) if payout.state in (PayoutState.PAID, PayoutState.FAILED) else "in_flight",
        "amountSats": whole_sats(payout.amount_msat),
        "paymentHash": payout.payment_hash.hex(),
        "claimedAt": instant(payout.created_at),
    }


def _pricing(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "estimatedCostUsd": estimate.cost_usd,
        "marginPct": estimate.margin_pct,
        "btcPriceUsd": estimate.btc_price_usd,
    }


def _ledger(cost: CostLedger | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    shown = {
        "actualInputTokens": cost.tokens_in,
        "actualOutputTokens": cost.tokens_out,
        "totalTokens": cost.tokens_in + cost.tokens_out,
        "actualCostUsd": cost.cost_usd,
        "actualChargeUsd": cost.charge_usd,
        "estimatedCostUsd": cost.estimated_cost_usd,
        "actualAmountSats": cost.actual_sats,
        "workAmountSats": cost.work_sats,
        "refundAmountSats": cost.refund_sats,
        "refundState": str(cost.refund_state),
        "marginPct": cost.margin_pct,
        "btcPriceUsd": cost.btc_price_usd,
    }
    return {name: value for name, value in shown.items() if value is not None}
