"""The shapes of sessions: the contract's, member for member, and what we add."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.agent.sessions.model import LEAST_SATS, MOST_SATS, RequestState, SessionState
from shared.agent.sessions.orders import MOST_LISTED
from shared.lightning.model import PayoutState
from web.agent.schemas import ErrorResponseSchema
from web.body import Fields

_STATES = [str(state) for state in SessionState]
_RUNNING = [str(RequestState.EVALUATING), str(RequestState.EXECUTING)]
_ENDS = [str(RequestState.COMPLETE), str(RequestState.REJECTED), str(RequestState.FAILED)]


class InsufficientBalanceSchema(ErrorResponseSchema):
    """Too little is available: what the call may cost, and what there is."""

    requiredSats = fields.Integer()  # noqa: N815 - the API's style
    availableSats = fields.Integer()  # noqa: N815


class SessionInvoiceInfoSchema(Fields):
    """An invoice to pay."""

    paymentRequest = fields.String()  # noqa: N815
    amountSats = fields.Integer()  # noqa: N815
    paymentHash = fields.String(metadata={"description": "With the sandbox node only."})  # noqa: N815
    expiresAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    uri = fields.String(metadata={"description": "The invoice as a lightning: link."})
    qr = fields.String(metadata={"description": "What a QR code should hold: the same link in upper case."})


class CreateSessionRequestSchema(Fields):
    """How much to deposit."""

    amount_sats = fields.Integer(required=True, strict=True, validate=validate.Range(LEAST_SATS, MOST_SATS))


class CreateSessionResponseSchema(Fields):
    """A session and the invoice of its deposit."""

    sessionId = fields.String(required=True)  # noqa: N815
    state = fields.String(required=True, validate=validate.OneOf(_STATES))
    invoice = fields.Nested(SessionInvoiceInfoSchema, required=True)
    expiresAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    createdAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    claimToken = fields.String(  # noqa: N815
        metadata={"description": "Proves that the session is yours, where X-Claim-Token is asked for. Told once."}
    )


class WithdrawalSchema(Fields):
    """The payout of what a session had left."""

    state = fields.String(validate=validate.OneOf([str(state) for state in PayoutState]))
    amountSats = fields.Integer()  # noqa: N815
    paymentHash = fields.String()  # noqa: N815


class SessionStatusResponseSchema(Fields):
    """A session as it stands; which members are there follows from `state`."""

    sessionId = fields.String(required=True)  # noqa: N815
    state = fields.String(required=True, validate=validate.OneOf(_STATES))
    balanceSats = fields.Integer(required=True)  # noqa: N815
    availableSats = fields.Integer(metadata={"description": "The balance without what running requests may cost."})  # noqa: N815
    minimumBalanceSats = fields.Integer()  # noqa: N815
    macaroon = fields.String(
        metadata={"description": "While the session can be used, and after it as long as something can be withdrawn."}
    )
    macaroonWithheld = fields.Boolean(metadata={"description": "A proof of payment would bring the macaroon."})  # noqa: N815
    createdAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    expiresAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    invoice = fields.Nested(SessionInvoiceInfoSchema)
    pendingTopup = fields.Nested(SessionInvoiceInfoSchema)  # noqa: N815
    withdrawableSats = fields.Integer(metadata={"description": "What an ended session is still owed."})  # noqa: N815
    withdrawal = fields.Nested(WithdrawalSchema)


class SessionRequestBodySchema(Fields):
    """What to do."""

    request = fields.String(required=True, validate=validate.Length(min=1))


class SessionCostBreakdownSchema(Fields):
    """What a request was charged."""

    evalSats = fields.Integer()  # noqa: N815
    workSats = fields.Integer()  # noqa: N815
    totalSats = fields.Integer()  # noqa: N815
    btcPriceUsd = fields.Decimal()  # noqa: N815


class SessionRequestResponseSchema(Fields):
    """A request's end."""

    requestId = fields.String(required=True)  # noqa: N815
    state = fields.String(required=True, validate=validate.OneOf(_ENDS))
    result = fields.String()
    reason = fields.String()
    errorMessage = fields.String()  # noqa: N815
    debitedSats = fields.Integer(required=True)  # noqa: N815
    balanceRemaining = fields.Integer(required=True)  # noqa: N815
    cost = fields.Nested(SessionCostBreakdownSchema)
    createdAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    receiptId = fields.String()  # noqa: N815


class SessionRequestStatusSchema(SessionRequestResponseSchema):
    """A request as it stands."""

    state = fields.String(required=True, validate=validate.OneOf([*_RUNNING, *_ENDS]))
    reservedSats = fields.Integer(metadata={"description": "What is set aside for it while it runs."})  # noqa: N815


class SessionRequestListSchema(Fields):
    """A session's requests, newest first."""

    sessionId = fields.String(required=True)  # noqa: N815
    requests = fields.List(fields.Nested(SessionRequestStatusSchema), required=True)
    nextBefore = fields.String(metadata={"description": "`before` of the next page, where there is one."})  # noqa: N815


class SessionRequestPageSchema(Fields):
    """Which of a session's requests."""

    before = fields.String(metadata={"description": "Only requests older than the one with this id."})
    limit = fields.Integer(load_default=50, validate=validate.Range(1, MOST_LISTED))


class TopupSessionResponseSchema(Fields):
    """The invoice of a top-up."""

    sessionId = fields.String(required=True)  # noqa: N815
    topup = fields.Nested(SessionInvoiceInfoSchema, required=True)


class CloseSessionRequestSchema(Fields):
    """Where what is left goes."""

    invoice = fields.String(
        metadata={
            "description": "BOLT11 invoice for exactly the whole sats left; none is needed where nothing is left."
        }
    )


class CloseSessionResponseSchema(Fields):
    """How the payout of what was left stands. Without one, nothing was left."""

    sessionId = fields.String(required=True)  # noqa: N815
    state = fields.String(required=True, validate=validate.OneOf(_STATES))
    ok = fields.Boolean(required=True)
    refundAmountSats = fields.Integer(required=True)  # noqa: N815
    paymentHash = fields.String()  # noqa: N815
    message = fields.String(required=True)
