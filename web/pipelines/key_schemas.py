"""The shapes of keys that tenants make for themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from marshmallow import ValidationError, fields, validate

from shared.access.model import Mode, Tier
from web.body import Fields
from web.pipelines.schemas import MOMENT, one_of, required_text

LONGEST_NAME = 100
LONGEST_EMAIL = 254


def _require_email(text: str) -> None:
    """An address that mail could reach; whether it does, only a mail would show."""
    local, _, domain = text.rpartition("@")
    is_plain = text.isprintable() and not any(character.isspace() for character in text)
    if not (is_plain and local and "@" not in local and "." in domain and all(domain.split("."))):
        raise ValidationError("Field email must be an e-mail address")
    if len(text) > LONGEST_EMAIL:
        raise ValidationError(f"Field email must have at most {LONGEST_EMAIL} characters")


def _require_name(text: str) -> None:
    if not text.isprintable() or len(text) > LONGEST_NAME:
        raise ValidationError(f"Field name must have 1 to {LONGEST_NAME} printable characters")


def _choice(name: str, kind: type[StrEnum], default: StrEnum, description: str) -> fields.String:
    values = [str(value) for value in kind]
    wrong = f"Field {name} must be one of {', '.join(values)}"
    return fields.String(
        load_default=str(default),
        validate=validate.OneOf(values, error=wrong),
        error_messages={"null": wrong, "invalid": wrong},
        metadata={"description": description},
    )


class SignUpRequestSchema(Fields):
    """Whose key, and what its calls run on."""

    names_its_faults: ClassVar[bool] = True

    email = required_text("email", "Where the operator can reach you.", also=_require_email)
    name = required_text("name", "What the key is for: 1 to 100 printable characters.", also=_require_name)
    tier = _choice("tier", Tier, Tier.FREE, "Only the free one can be had so; plans are bought.")
    mode = _choice("mode", Mode, Mode.LIVE, "A test key's calls run on the simulated model.")


class OwnKeySchema(Fields):
    """A key without its text, which nobody keeps."""

    id = fields.String(required=True)
    key_prefix = fields.String(required=True, metadata={"description": "The first 12 characters of its text."})
    name = fields.String(required=True)
    tier = one_of(
        Tier, required=True, metadata={"description": "The key's own; what the tenant has paid for counts besides."}
    )
    mode = one_of(Mode, required=True)
    email = fields.String(allow_none=True)
    created_at = fields.String(required=True, metadata=MOMENT)
    last_used_at = fields.String(allow_none=True, metadata={**MOMENT, "description": "To the minute."})
    revoked_at = fields.String(allow_none=True, metadata=MOMENT)
    rotated_from = fields.String(allow_none=True, metadata={"description": "The key whose place it took."})


class OwnKeyResponseSchema(OwnKeySchema):
    """One key."""

    request_id = fields.String(required=True)


class NewKeyResponseSchema(OwnKeyResponseSchema):
    """A new key, with its text."""

    key = fields.String(
        metadata={"description": "Told this once. A repetition under the same Idempotency-Key leaves it out."}
    )


class OwnKeyListSchema(Fields):
    """The tenant's newest keys, newest first; revoked ones too."""

    request_id = fields.String(required=True)
    keys = fields.List(fields.Nested(OwnKeySchema), required=True)
