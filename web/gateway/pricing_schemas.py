"""The shapes of what the operator charges, and of the settlement table."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.agent.settlement_table import Charged, Counted, OwedBack, Situation, Unit
from web.body import Fields


class SettlementCellSchema(Fields):
    """One outcome: the state that the answer shows (or `not_created`), what is kept, what the caller gets back."""

    ends_as = fields.String(required=True)
    charged = fields.String(required=True, validate=validate.OneOf([str(code) for code in Charged]))
    owed_back = fields.String(required=True, validate=validate.OneOf([str(code) for code in OwedBack]))
    text = fields.String(required=True)


class SettlementRunCellSchema(Fields):
    """One outcome of an inference run: its state (or `not_created`), what its usage row says and counts. Its receipt says the same."""

    ends_as = fields.String(required=True)
    outcome = fields.String(required=True, allow_none=True, metadata={"description": "Null where there is no run."})
    counted = fields.String(required=True, validate=validate.OneOf([str(code) for code in Counted]))
    text = fields.String(required=True)


class SettlementUnitCellSchema(Fields):
    """One outcome of a verification: its state (or `not_created`), and what becomes of the one that it took of the month."""

    ends_as = fields.String(required=True)
    unit = fields.String(required=True, validate=validate.OneOf([str(code) for code in Unit]))
    text = fields.String(required=True)


class SettlementRowSchema(Fields):
    """One situation: a job, a request on a session's balance, an inference run, a verification, a plan; null where it cannot be."""

    situation = fields.String(required=True, validate=validate.OneOf([str(code) for code in Situation]))
    text = fields.String(required=True)
    job = fields.Nested(SettlementCellSchema, required=True, allow_none=True)
    session_request = fields.Nested(SettlementCellSchema, required=True, allow_none=True)
    inference = fields.Nested(SettlementRunCellSchema, required=True, allow_none=True)
    verification = fields.Nested(SettlementUnitCellSchema, required=True, allow_none=True)
    plan = fields.Nested(SettlementCellSchema, required=True, allow_none=True)


class RatesSchema(Fields):
    """What is charged for. Dollars are exact decimals."""

    evaluation_fee_sats = fields.Integer(required=True)
    input_usd_per_mtok = fields.Decimal(required=True)
    output_usd_per_mtok = fields.Decimal(required=True)
    infra_usd = fields.Decimal(required=True, metadata={"description": "Added to each work."})
    margin_pct = fields.Decimal(required=True)
    max_output_tokens = fields.Integer(required=True)


class LimitsSchema(Fields):
    """What is free is limited. Seconds end in `_s`."""

    max_request_chars = fields.Integer(required=True)
    max_unpaid_invoices = fields.Integer(required=True, metadata={"description": "Of one address, jobs and sessions."})
    demo_calls_per_hour = fields.Integer(required=True, metadata={"description": "Of one address."})
    invoice_expiry_s = fields.Integer(required=True)
    min_deposit_sats = fields.Integer(required=True)
    max_deposit_sats = fields.Integer(required=True)
    session_minimum_sats = fields.Integer(required=True, metadata={"description": "Below it a session pauses."})
    session_idle_s = fields.Integer(required=True)


class RefundTermsSchema(Fields):
    """How money goes back."""

    claim_within_days = fields.Integer(required=True, metadata={"description": "The operator keeps it ready so long."})
    fees_paid_by = fields.String(required=True)
    fee_limit_min_sats = fields.Integer(required=True, metadata={"description": "Routing may cost so much at least."})
    fee_limit_pct = fields.Integer(
        required=True, metadata={"description": "Or so much of the amount, if that is more."}
    )
    min_remaining_expiry_s = fields.Integer(required=True, metadata={"description": "Of the invoice to be paid."})
    claim_proof_required = fields.Boolean(required=True)


class PriceTermsSchema(Fields):
    """Where the price of a bitcoin comes from."""

    feeds = fields.List(fields.String(), required=True)
    is_fixed = fields.Boolean(required=True, metadata={"description": "The operator named it: play money."})
    max_age_s = fields.Integer(required=True)


class SettlementTableSchema(Fields):
    """Who pays when it goes wrong, and the terms that apply."""

    success = fields.Boolean(required=True)
    table = fields.List(fields.Nested(SettlementRowSchema), required=True)
    notes = fields.List(fields.String(), required=True)
    rates = fields.Nested(RatesSchema, required=True)
    limits = fields.Nested(LimitsSchema, required=True)
    refunds = fields.Nested(RefundTermsSchema, required=True)
    price = fields.Nested(PriceTermsSchema, required=True)
