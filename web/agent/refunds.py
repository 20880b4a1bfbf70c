"""Claiming what a job is owed."""

from __future__ import annotations

from typing import Any

from shared.agent.refunds import PaymentFailed
from shared.kernel.money import whole_sats
from shared.lightning.model import Payout, PayoutState
from web.agent.proof import offered_proof
from web.agent.routes import jobs
from web.agent.schemas import ClaimRefundRequestSchema, ClaimRefundResponseSchema
from web.context import container
from web.door import Answers
from web.idempotency import keep_no_answer

SENT = "refund sent"
IN_FLIGHT = "payment in flight"
FAILED = "The payment failed; what is owed is owed as before, and can be claimed with another invoice."
operations = jobs
"""A refund is one of the contract's operations on jobs."""


@operations.post(
    "/jobs/<id>/refund",
    "claimRefund",
    Answers(ClaimRefundResponseSchema, errors=(400, 401, 404, 409, 500)),
    body=ClaimRefundRequestSchema,
)
def claim_refund(body: dict[str, Any], id: str) -> dict[str, Any]:  # noqa: A002 - the contract's parameter
    """Have what an ended job is owed paid to your invoice

    The invoice asks for exactly refundAmountSats. The same invoice again gets the same payment, and its outcome: `ok` false says
    that it is still in flight. Where the operator demands proof, X-Claim-Token or X-Payment-Preimage has to come along.
    """
    return payout_shown(container().refunds.refund(id, body["invoice"], proof=offered_proof()))


def payout_shown(payout: Payout) -> dict[str, Any]:
    """Return the contract's answer for a payout. Raises `PaymentFailed` for one that ended without having paid.

    No Idempotency-Key keeps the answer that it is in flight: a repetition is to get the outcome.
    """
    if payout.state is PayoutState.FAILED:
        raise PaymentFailed(FAILED)
    is_paid = payout.state is PayoutState.PAID
    if not is_paid:
        keep_no_answer()
    return {
        "ok": is_paid,
        "refundAmountSats": whole_sats(payout.amount_msat),
        "paymentHash": payout.payment_hash.hex(),
        "message": SENT if is_paid else IN_FLIGHT,
    }
