"""The shapes of API keys: what an administrator asks for and is told."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.access.keys import DEFAULT_SCOPES, LONGEST_LABEL
from shared.access.model import Mode, Scope, Tier
from web.body import Fields

_MODES = [str(mode) for mode in Mode]
_TIERS = [str(tier) for tier in Tier]
_SCOPES = [str(scope) for scope in Scope]
_MOMENT = {"format": "date-time"}


class CreateKeyRequestSchema(Fields):
    """Whose key, and what it opens."""

    mode = fields.String(required=True, validate=validate.OneOf(_MODES))
    tier = fields.String(load_default=str(Tier.FREE), validate=validate.OneOf(_TIERS))
    scopes = fields.List(
        fields.String(validate=validate.OneOf(_SCOPES)),
        load_default=sorted(DEFAULT_SCOPES),
        validate=validate.Length(min=1, max=len(_SCOPES)),
    )
    tenant = fields.String(
        validate=validate.Length(min=1, max=64),
        metadata={"description": "Letters, digits and . _ : @ -. Without it the key gets a tenant of its own."},
    )
    label = fields.String(load_default="", validate=validate.Length(max=LONGEST_LABEL))


class ListKeysQuerySchema(Fields):
    """Whose keys."""

    tenant = fields.String()


class KeySchema(Fields):
    """A key without its text, which nobody keeps."""

    id = fields.String(required=True)
    hint = fields.String(required=True, metadata={"description": "The two ends of its text."})
    label = fields.String(required=True)
    tenant = fields.String(required=True)
    mode = fields.String(required=True, validate=validate.OneOf(_MODES))
    tier = fields.String(required=True, validate=validate.OneOf(_TIERS))
    scopes = fields.List(fields.String(validate=validate.OneOf(_SCOPES)), required=True)
    rotated_from = fields.String(allow_none=True, metadata={"description": "The key whose place it took."})
    created_at = fields.String(required=True, metadata=_MOMENT)
    last_used_at = fields.String(allow_none=True, metadata={**_MOMENT, "description": "To the minute."})
    revoked_at = fields.String(allow_none=True, metadata=_MOMENT)


class KeyResponseSchema(KeySchema):
    """One key."""

    success = fields.Boolean(required=True)


class IssuedKeyResponseSchema(KeyResponseSchema):
    """A new key, with its text."""

    key = fields.String(
        metadata={"description": "Told this once. A repetition under the same Idempotency-Key leaves it out."}
    )


class KeyListResponseSchema(Fields):
    """The newest thousand keys, newest first."""

    success = fields.Boolean(required=True)
    keys = fields.List(fields.Nested(KeySchema), required=True)
