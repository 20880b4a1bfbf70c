"""The paid agent's shapes: the contract's, member for member, and what we add."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.agent.model import JobState, RefundState
from web.body import Fields


class ErrorResponseSchema(Fields):
    """Any failure. `code` is stable; `request_id` is the answer's X-Request-Id."""

    error = fields.String(required=True)
    code = fields.String()
    request_id = fields.String()


class HealthStatusSchema(Fields):
    """Whether the process answers."""

    status = fields.String(required=True)


class InvoiceInfoSchema(Fields):
    """An invoice to pay."""

    paymentRequest = fields.String(required=True)  # noqa: N815 - the contract's name
    amountSats = fields.Integer(required=True)  # noqa: N815
    expiresAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    uri = fields.String(metadata={"description": "The invoice as a lightning: link."})
    qr = fields.String(
        metadata={"description": "What a QR code should hold: the same link in upper case, which is shorter."}
    )


class CreateJobRequestSchema(Fields):
    """What to do."""

    request = fields.String(required=True, validate=validate.Length(min=1))


class CreateJobResponseSchema(Fields):
    """A job and the invoice for its evaluation."""

    jobId = fields.String(required=True)  # noqa: N815
    evalInvoice = fields.Nested(InvoiceInfoSchema, required=True)  # noqa: N815
    claimToken = fields.String(  # noqa: N815
        metadata={"description": "Proof that the job is yours, where the operator demands one. Told once."}
    )
    state = fields.String(validate=validate.OneOf([str(state) for state in JobState]))
    createdAt = fields.String(metadata={"format": "date-time"})  # noqa: N815


class PricingBreakdownSchema(Fields):
    """How the work invoice came about. Dollars are exact decimals."""

    estimatedCostUsd = fields.Decimal()  # noqa: N815
    marginPct = fields.Decimal()  # noqa: N815
    btcPriceUsd = fields.Decimal()  # noqa: N815


class CostLedgerSchema(Fields):
    """The account of an ended job. Dollars are exact decimals, sats whole."""

    actualInputTokens = fields.Integer()  # noqa: N815
    actualOutputTokens = fields.Integer()  # noqa: N815
    totalTokens = fields.Integer()  # noqa: N815
    actualCostUsd = fields.Decimal()  # noqa: N815
    actualChargeUsd = fields.Decimal()  # noqa: N815
    estimatedCostUsd = fields.Decimal()  # noqa: N815
    actualAmountSats = fields.Integer()  # noqa: N815
    workAmountSats = fields.Integer()  # noqa: N815
    refundAmountSats = fields.Integer()  # noqa: N815
    refundState = fields.String(validate=validate.OneOf([str(state) for state in RefundState]))  # noqa: N815
    marginPct = fields.Decimal()  # noqa: N815
    btcPriceUsd = fields.Decimal()  # noqa: N815


class RequestQuerySchema(Fields):
    """What to do, in the address."""

    request = fields.String(required=True)


class DemoResponseSchema(Fields):
    """What the agent made of it."""

    result = fields.String(required=True)


class EstimateSchema(Fields):
    """What a request costs at most. Sats are whole, dollars exact decimals."""

    evalSats = fields.Integer(required=True, metadata={"description": "A job's evaluation invoice."})  # noqa: N815
    workSats = fields.Integer(required=True, metadata={"description": "A job's work invoice."})  # noqa: N815
    totalSats = fields.Integer(required=True)  # noqa: N815
    estimatedCostUsd = fields.Decimal(required=True)  # noqa: N815
    marginPct = fields.Decimal(required=True)  # noqa: N815
    btcPriceUsd = fields.Decimal(required=True)  # noqa: N815
    priceSource = fields.String(  # noqa: N815
        required=True,
        metadata={"description": "The feeds that agree on it; `fixed` where the operator named the price."},
    )
    priceAgeS = fields.Integer(required=True)  # noqa: N815
    sessionMaxEvalSats = fields.Integer(required=True)  # noqa: N815
    sessionMaxSats = fields.Integer(  # noqa: N815
        required=True, metadata={"description": "What a session sets aside for this request; it pays what was used."}
    )
    minDepositSats = fields.Integer(required=True)  # noqa: N815
    maxDepositSats = fields.Integer(required=True)  # noqa: N815


class ClaimRefundRequestSchema(Fields):
    """Where to pay what is owed."""

    invoice = fields.String(
        required=True,
        validate=validate.Length(min=1),
        metadata={"description": "BOLT11 invoice for exactly refundAmountSats, valid for two minutes more."},
    )


class ClaimRefundResponseSchema(Fields):
    """How the payment of a refund stands. `ok` false: in flight; the same call again tells the outcome."""

    ok = fields.Boolean(required=True)
    refundAmountSats = fields.Integer(required=True)  # noqa: N815
    paymentHash = fields.String(required=True)  # noqa: N815
    message = fields.String(required=True)


class RefundPaymentSchema(Fields):
    """The latest payment of what a job is owed."""

    state = fields.String(required=True, validate=validate.OneOf(["in_flight", "paid", "failed"]))
    amountSats = fields.Integer(required=True)  # noqa: N815
    paymentHash = fields.String(required=True)  # noqa: N815
    claimedAt = fields.String(metadata={"format": "date-time"})  # noqa: N815


class JobStatusResponseSchema(Fields):
    """A job as it stands; which members are there follows from `state`."""

    jobId = fields.String(required=True)  # noqa: N815
    state = fields.String(required=True, validate=validate.OneOf([str(state) for state in JobState]))
    createdAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    evalInvoice = fields.Nested(InvoiceInfoSchema)  # noqa: N815
    workInvoice = fields.Nested(InvoiceInfoSchema)  # noqa: N815
    pricingBreakdown = fields.Nested(PricingBreakdownSchema)  # noqa: N815
    reason = fields.String()
    result = fields.String()
    costLedger = fields.Nested(CostLedgerSchema)  # noqa: N815
    errorMessage = fields.String()  # noqa: N815
    refundPayment = fields.Nested(RefundPaymentSchema)  # noqa: N815
    receiptId = fields.String(metadata={"description": "The signed receipt of an ended job."})  # noqa: N815
