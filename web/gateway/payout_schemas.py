"""Bodies and answers of payouts. Lamports are whole: integers or strings of digits in, strings of digits out."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, fields, validate

from shared.splits.model import MOST_LAMPORTS, WHOLE_BP
from web.body import Fields
from web.door import GREATEST_INTEGER
from web.typed_fields import Whole

RUN = r"\A[A-Za-z0-9._:-]{1,128}\Z"
_DIGITS = re.compile(r"[0-9]{1,30}", re.ASCII)
_WALLET = validate.Regexp(r"\A[!-~]{1,128}\Z", error="must be 1 to 128 visible ASCII characters")
_PART = validate.Range(0, WHOLE_BP)
_EITHER = {"oneOf": [{"type": "string"}, {"type": "integer"}]}


class Lamports(fields.Field[int]):
    """A whole amount, as an integer or as its digits: a string keeps what a JSON number loses in some readers."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> int:  # noqa: ARG002 - marshmallow's signature
        is_text = isinstance(value, str) and _DIGITS.fullmatch(value) is not None
        if not is_text and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValidationError("must be a whole amount, as an integer or a string of digits")
        amount = int(value)
        if not 0 <= amount <= MOST_LAMPORTS:
            raise ValidationError(f"must be 0 to {MOST_LAMPORTS}")
        return amount


class PayoutConfigSchema(Fields):
    """Basis points; what is left out is 0, and together they are 10 000. `protocol_bp` goes to the treasury."""

    compute_bp = Whole(validate=_PART)
    model_bp = Whole(validate=_PART)
    orchestrator_bp = Whole(validate=_PART)
    protocol_bp = Whole(validate=_PART)


class _Recipients(Fields):
    """Who takes part. A wallet is taken as it is: nothing is transferred to it. Without one the part goes to the treasury."""

    run_id = fields.String(required=True, validate=validate.Regexp(RUN))
    compute_wallet = fields.String(required=True, validate=_WALLET)
    model_wallet = fields.String(validate=_WALLET)
    orchestrator_wallet = fields.String(validate=_WALLET)
    config = fields.Nested(PayoutConfigSchema)


class CalculatePayoutSchema(_Recipients):
    """A total to share out."""

    total_amount_lamports = Lamports(required=True, metadata=_EITHER)


class PayoutFromReceiptSchema(_Recipients):
    """The tokens of a receipt, which has to say the same, and what a thousand of them cost."""

    tokens_in = Whole(required=True, validate=validate.Range(0, GREATEST_INTEGER))
    tokens_out = Whole(required=True, validate=validate.Range(0, GREATEST_INTEGER))
    price_per_1k_tokens_lamports = Lamports(required=True, metadata=_EITHER)


class PayoutRecipientSchema(Fields):
    """One recipient. `wallet_address` and `amount_bp` say again what `wallet` and `bp` do."""

    role = fields.String(required=True)
    wallet = fields.String(required=True)
    bp = fields.Integer(required=True)
    amount_lamports = fields.String(required=True)
    wallet_address = fields.String()
    amount_bp = fields.Integer()


class PayoutSchema(Fields):
    """A run's payout. `payout_hash`: SHA-256 over the RFC 8785 form of all the rest."""

    run_id = fields.String(required=True)
    total_amount_lamports = fields.String(required=True)
    recipients = fields.List(fields.Nested(PayoutRecipientSchema), required=True)
    payout_hash = fields.String(required=True)
    timestamp = fields.Integer(required=True)
    created_at = fields.Integer()
    split_config = fields.Nested(PayoutConfigSchema)


class PayoutResponseSchema(Fields):
    """One payout."""

    success = fields.Boolean(required=True)
    payout = fields.Nested(PayoutSchema, required=True)


class PayoutVerificationSchema(Fields):
    """What holds of a payout that was worked out anew."""

    success = fields.Boolean(required=True)
    valid = fields.Boolean(required=True)
    total_matches = fields.Boolean()
    recipients_valid = fields.Boolean()
    hash_valid = fields.Boolean()
    error = fields.String()
