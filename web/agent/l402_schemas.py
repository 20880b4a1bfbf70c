"""The shapes of L402: what is asked for, and the challenge. What is bought has the paid agent's own shapes."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.agent.sessions.model import LEAST_SATS, MOST_SATS
from web.agent.schemas import ErrorResponseSchema
from web.agent.session_schemas import SessionRequestBodySchema


class L402RequestBodySchema(SessionRequestBodySchema):
    """What to do, and how much to deposit where a deposit or a top-up is asked for."""

    amount_sats = fields.Integer(strict=True, validate=validate.Range(LEAST_SATS, MOST_SATS))


class ChallengeSchema(ErrorResponseSchema):
    """What to pay before the call is served; the header WWW-Authenticate says the same to programs.

    Without an invoice where paying would not help: the macaroon itself allows no call of that cost.
    """

    paymentRequest = fields.String()  # noqa: N815 - the API's style
    amountSats = fields.Integer()  # noqa: N815
    expiresAt = fields.String(metadata={"format": "date-time"})  # noqa: N815
    uri = fields.String(metadata={"description": "The invoice as a lightning: link."})
    qr = fields.String(metadata={"description": "What a QR code should hold: the same link in upper case."})
    macaroon = fields.String(
        metadata={"description": "With the payment's preimage, the credential: macaroon:preimage."}
    )
    jobId = fields.String(metadata={"description": "The job that the payment buys."})  # noqa: N815
    sessionId = fields.String(metadata={"description": "The session that the deposit opens."})  # noqa: N815
    requiredSats = fields.Integer()  # noqa: N815
    availableSats = fields.Integer()  # noqa: N815
