"""What both ways of asking for inference have in common: the members that every request may hold, and their bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marshmallow import RAISE, ValidationError, fields, validate

from web.body import Fields
from web.typed_fields import Flag, Real, Whole

MOST_TOKENS = 1_000_000
MOST_STOPS = 4
LONGEST_STOP = 256
LONGEST_NAME = 256
LONGEST_ID = 128
GREATEST_TOP_K = 1_000_000


def printable(text: str) -> None:
    """Refuse what could not be told apart in a log, or would break its line."""
    if not text.isprintable():
        raise ValidationError("must be printable")


def named(**options: Any) -> fields.String:
    """Return a field for a name or an id of ours."""
    return fields.String(validate=_bounded(LONGEST_NAME), **options)


def tagged(description: str) -> fields.String:
    """Return a field for an id of the caller's own, which comes back verbatim."""
    return fields.String(validate=_bounded(LONGEST_ID), metadata={"description": description})


def _bounded(longest: int) -> list[Callable[[str], Any]]:
    return [validate.Length(1, longest), printable]


def stop_text() -> fields.String:
    """Return a field for one text at which an answer ends."""
    return fields.String(validate=validate.Length(1, LONGEST_STOP))


class StrictFields(Fields):
    """Fields among which no other is known: the contract refuses further members."""

    class Meta:
        """What marshmallow calls options."""

        unknown = RAISE


class PolicySchema(StrictFields):
    """What the caller demands of the run and of where it happens; read strictly by `shared.catalog.policy`."""

    class AttestationSchema(StrictFields):
        """What is demanded of the node's attestation."""

        attestation_required = Flag()
        require_cc_on = Flag()
        fallback_allowed = Flag()

    class LatencySchema(StrictFields):
        """How long it may take, in milliseconds."""

        p95_ms_budget = Whole()
        hard_timeout_ms = Whole()

    class CostSchema(StrictFields):
        """What it may cost."""

        max_price_per_1k_tokens_usd = Real()
        spot_only = Flag()

    class PrivacySchema(StrictFields):
        """What may be kept, and what the model may see."""

        store_inputs = Flag()
        redact_pii = Flag()

    policy_version = fields.String(required=True, metadata={"description": "Policy schema version: 1.0"})
    allow_regions = fields.List(fields.String())
    residency_required = Flag()
    attestation = fields.Nested(AttestationSchema)
    latency = fields.Nested(LatencySchema)
    cost = fields.Nested(CostSchema)
    privacy = fields.Nested(PrivacySchema)


class PolicyText(fields.Nested):
    """A policy, kept as it was written: its hash is over just that, and only `parse_policy` judges it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(PolicySchema, **options)

    def _deserialize(self, value: Any, *_place: Any, **_options: Any) -> Any:
        return value


class AskedSchema(Fields):
    """The members of a request for inference, on either address."""

    max_tokens = Whole(validate=validate.Range(1, MOST_TOKENS))
    temperature = Real(validate=validate.Range(0, 2))
    top_p = Real(validate=validate.Range(0, 1))
    top_k = Whole(
        validate=validate.Range(1, GREATEST_TOP_K),
        metadata={"description": "Refused where the node's runtime knows no such thing."},
    )
    stream = Flag()
    policy = PolicyText()
    compute_passport_id = named(metadata={"description": "The one node that may run it."})
    trace_id = tagged("Comes back verbatim, and stands in the receipt and the log.")
    request_id = tagged("Comes back verbatim, and stands in the receipt and the log. The run's id where absent.")
    project_id = tagged("Groups the run's receipt with others; /v1/epochs shows a project's.")
