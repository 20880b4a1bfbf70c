"""The addresses of plans: what there is, an invoice for one, what came of it, what is owed back of it."""

from __future__ import annotations

from typing import Any

from shared.access.model import PaidPlan
from shared.access.plans import PAID_DAYS, PLANS
from shared.agent.refunds import PaymentFailed
from shared.kernel.money import whole_sats
from shared.lightning.model import Payout, PayoutState
from shared.plans.model import PurchaseView
from web.auth import principal
from web.context import container, request_id
from web.door import Answers, Operations
from web.idempotency import keep_no_answer, key_claim
from web.pipelines.addresses import BASE
from web.pipelines.guards import OWNER
from web.pipelines.moments import moment
from web.pipelines.plan_schemas import (
    PlanInvoiceListSchema,
    PlanInvoicePageSchema,
    PlanInvoiceSchema,
    PlanListSchema,
    PlanRefundRequestSchema,
    PlanRefundSchema,
)

SENT = "refund sent"
IN_FLIGHT = "payment in flight"
FAILED = "The payment failed; what is owed is owed as before, and can be claimed with another invoice."

operations = Operations(
    "Plans", __name__, description="What can be subscribed to, paid with Lightning", url_prefix=BASE
)


@operations.get("/plans", "listPlans", Answers(PlanListSchema))
def list_plans() -> dict[str, Any]:
    """List the plans: price, verifications a month, requests a minute"""
    shown = [
        {
            "tier": str(plan.tier),
            "name": plan.name,
            "price_usd": plan.price_usd,
            "verifications_per_month": plan.verifications,
            "requests_per_minute": plan.per_minute,
            "days": PAID_DAYS if plan.is_sold else None,
        }
        for plan in PLANS.values()
    ]
    return {"request_id": request_id(), "plans": shown}


@operations.post("/plans/<tier>/invoice", "buyPlan", Answers(PlanInvoiceSchema, 201, (404, 500)), guard=OWNER)
def buy_plan(tier: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Ask for a Lightning invoice for thirty days of a plan, at the bitcoin price of this moment, which it locks

    Paying it gives your tenant the plan at once, or where an equal or better one ends; a lesser one waits meanwhile, so that no day is
    lost. A payment that comes late still buys; what comes above the price is owed back. Past the deadline the answer is 500 with
    Retry-After, and nothing can be paid. Test keys buy nothing.
    """
    view = container().plans.buy(tier, principal(), claim=key_claim())
    keep_no_answer()  # an invoice expires long before a key does
    return _shown(view), 201, {"Location": f"{BASE}/plans/invoices/{view.purchase.public_id}"}


@operations.get(
    "/plans/invoices",
    "listPlanInvoices",
    Answers(PlanInvoiceListSchema, errors=(404, 500)),
    query=PlanInvoicePageSchema,
    guard=OWNER,
)
def list_plan_invoices(query: dict[str, Any]) -> dict[str, Any]:
    """List your tenant's invoices for plans, newest first: paid, open and expired ones, with what each bought and what is owed back"""
    most = query["limit"]
    found = container().plans.listing(principal=principal(), before=query.get("before"), most=most)
    listed: dict[str, Any] = {"request_id": request_id(), "invoices": [_listed(view) for view in found]}
    return {**listed, "next_before": found[-1].purchase.public_id} if len(found) == most else listed


@operations.get(
    "/plans/invoices/<invoice_id>", "getPlanInvoice", Answers(PlanInvoiceSchema, errors=(404, 500)), guard=OWNER
)
def get_plan_invoice(invoice_id: str) -> dict[str, Any]:
    """Get a plan's invoice as it stands

    It moves by itself; asking about one that waits for its payment has the node asked at once.
    """
    return _shown(container().plans.get(invoice_id, principal=principal()))


@operations.post(
    "/plans/invoices/<invoice_id>/refund",
    "refundPlanInvoice",
    Answers(PlanRefundSchema, errors=(400, 404, 500)),
    body=PlanRefundRequestSchema,
    guard=OWNER,
)
def refund_plan_invoice(body: dict[str, Any], invoice_id: str) -> dict[str, Any]:
    """Have what is owed back of a plan's invoice paid to an invoice of yours

    It asks for exactly `owed_back_sats`. The same invoice again gets the same payment, and its outcome.
    """
    payout = container().plans.refund(invoice_id, body["invoice"], principal=principal())
    if payout.state is PayoutState.FAILED:
        raise PaymentFailed(FAILED)
    is_paid = payout.state is PayoutState.PAID
    if not is_paid:
        keep_no_answer()
    return {
        "request_id": request_id(),
        "ok": is_paid,
        "amount_sats": whole_sats(payout.amount_msat),
        "payment_hash": payout.payment_hash.hex(),
        "message": SENT if is_paid else IN_FLIGHT,
    }


def paid_plan_shown(bought: PaidPlan) -> dict[str, Any]:
    """Return a tier that was paid for, and for how long."""
    return {"tier": str(bought.tier), "starts_at": moment(bought.starts_at), "ends_at": moment(bought.ends_at)}


def _shown(view: PurchaseView) -> dict[str, Any]:
    return {"request_id": request_id(), **_listed(view)}


def _listed(view: PurchaseView) -> dict[str, Any]:
    purchase = view.purchase
    return {
        "id": purchase.public_id,
        "state": str(purchase.state),
        "tier": str(purchase.tier),
        "payment_request": view.payment_request,
        "payment_hash": view.payment_hash.hex(),
        "amount_sats": view.amount_sats,
        "price_usd": purchase.price_usd,
        "btc_price_usd": view.btc_price_usd,
        "created_at": moment(purchase.created_at),
        "expires_at": moment(view.expires_at),
        "paid_at": moment(purchase.paid_at),
        "bought": None if view.bought is None else paid_plan_shown(view.bought),
        "owed_back_sats": view.owed_sats,
        "payout": None if view.payout is None else _payout_shown(view.payout),
    }


def _payout_shown(payout: Payout) -> dict[str, Any]:
    is_over = payout.state in (PayoutState.PAID, PayoutState.FAILED)
    return {
        "state": str(payout.state) if is_over else "in_flight",
        "amount_sats": whole_sats(payout.amount_msat),
        "payment_hash": payout.payment_hash.hex(),
    }
