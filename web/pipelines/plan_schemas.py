"""The shapes of plans, of their invoices and of what a month has used."""

from __future__ import annotations

from typing import ClassVar

from marshmallow import fields, validate

from shared.access.model import Mode, Tier
from shared.access.plans import PAID_DAYS
from shared.plans.model import PurchaseState
from shared.plans.service import MOST_LISTED
from web.body import Fields
from web.pipelines.schemas import MOMENT, one_of, required_text


class CountedSchema(Fields):
    """One pipeline's verifications of the month. `limit` is the pool's: either pipeline may use it up."""

    count = fields.Integer(required=True)
    limit = fields.Integer(required=True)


class PoolSchema(Fields):
    """The month's verifications, forward and reverse together."""

    limit = fields.Integer(required=True)
    used = fields.Integer(required=True)
    remaining = fields.Integer(required=True)
    resets_at = fields.String(required=True, metadata={**MOMENT, "description": "When the next month (UTC) begins."})


class PaidPlanSchema(Fields):
    """A plan that was paid for."""

    tier = one_of(Tier, required=True)
    starts_at = fields.String(required=True, metadata=MOMENT)
    ends_at = fields.String(required=True, metadata=MOMENT)


class AccountUsageSchema(Fields):
    """What a tenant has used this month, with keys of the caller's mode."""

    request_id = fields.String(required=True)
    period = fields.String(required=True, metadata={"description": "YYYY-MM, UTC."})
    mode = one_of(Mode, required=True)
    tier = one_of(
        Tier, required=True, metadata={"description": "What counts now: the better of the key's and the paid one."}
    )
    requests_per_minute = fields.Integer(required=True, metadata={"description": "Of one key."})
    verifications = fields.Nested(PoolSchema, required=True)
    forward = fields.Nested(CountedSchema, required=True)
    reverse = fields.Nested(CountedSchema, required=True)
    total_input_tokens = fields.Integer(required=True)
    total_output_tokens = fields.Integer(required=True)
    paid_plans = fields.List(
        fields.Nested(PaidPlanSchema), required=True, metadata={"description": "Paid for and not used up."}
    )


class PlanSchema(Fields):
    """One plan."""

    tier = one_of(Tier, required=True)
    name = fields.String(required=True)
    price_usd = fields.Decimal(required=True, metadata={"type": "number"})
    verifications_per_month = fields.Integer(required=True)
    requests_per_minute = fields.Integer(required=True, metadata={"description": "Of one key."})
    days = fields.Integer(allow_none=True, metadata={"description": f"What a payment lasts: {PAID_DAYS}, or null."})


class PlanListSchema(Fields):
    """The plans, the least first."""

    request_id = fields.String(required=True)
    plans = fields.List(fields.Nested(PlanSchema), required=True)


class PlanPayoutSchema(Fields):
    """The newest payment of what was owed back."""

    state = fields.String(required=True, validate=validate.OneOf(["in_flight", "paid", "failed"]))
    amount_sats = fields.Integer(required=True)
    payment_hash = fields.String(required=True)


class ListedPlanInvoiceSchema(Fields):
    """A plan's invoice, and what came of it. The price is locked on it."""

    id = fields.String(required=True)
    state = one_of(PurchaseState, required=True)
    tier = one_of(Tier, required=True)
    payment_request = fields.String(
        allow_none=True, metadata={"description": "Null once it is paid or cannot be paid any more."}
    )
    payment_hash = fields.String(required=True)
    amount_sats = fields.Integer(required=True)
    price_usd = fields.Decimal(required=True, metadata={"type": "number"})
    btc_price_usd = fields.Decimal(required=True, metadata={"type": "number"})
    created_at = fields.String(required=True, metadata=MOMENT)
    expires_at = fields.String(required=True, metadata=MOMENT)
    paid_at = fields.String(allow_none=True, metadata=MOMENT)
    bought = fields.Nested(PaidPlanSchema, allow_none=True)
    owed_back_sats = fields.Integer(
        required=True, metadata={"description": "What came above the price, or below it: to be claimed."}
    )
    payout = fields.Nested(PlanPayoutSchema, allow_none=True)


class PlanInvoiceSchema(ListedPlanInvoiceSchema):
    """A plan's invoice, and what came of it. The price is locked on it."""

    request_id = fields.String(required=True)


class PlanInvoiceListSchema(Fields):
    """Invoices for plans, newest first."""

    request_id = fields.String(required=True)
    invoices = fields.List(fields.Nested(ListedPlanInvoiceSchema), required=True)
    next_before = fields.String(metadata={"description": "`before` of the next page, where there is one."})


class PlanInvoicePageSchema(Fields):
    """Which invoices."""

    before = fields.String(metadata={"description": "Only invoices older than the one with this id."})
    limit = fields.Integer(load_default=20, validate=validate.Range(1, MOST_LISTED))


class PlanRefundRequestSchema(Fields):
    """Where to pay what is owed."""

    names_its_faults: ClassVar[bool] = True

    invoice = required_text("invoice", "A BOLT11 invoice for exactly owed_back_sats.")


class PlanRefundSchema(Fields):
    """How the payment stands."""

    request_id = fields.String(required=True)
    ok = fields.Boolean(required=True, metadata={"description": "False: still in flight. A repetition tells the end."})
    amount_sats = fields.Integer(required=True)
    payment_hash = fields.String(required=True)
    message = fields.String(required=True)
