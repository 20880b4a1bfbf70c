"""The shapes of the pipelines: the contract's, member for member, and what we add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from shared.source.languages import LONGEST_NAME
from shared.verification.items import (
    Action,
    Category,
    ConstraintSource,
    ConstraintType,
    EvidenceKind,
    Ruling,
    Severity,
    SpecStatus,
)
from shared.verification.model import Stage, StageState
from web.body import Fields

DEFAULT_LANGUAGE = "typescript"
MOMENT = {"format": "date-time"}


def one_of(kind: Any, **options: Any) -> fields.String:
    """Return a field that holds one of an enum's values."""
    return fields.String(validate=validate.OneOf([str(value) for value in kind]), **options)


def required_text(name: str, description: str, *, also: Callable[[str], None] | None = None) -> fields.String:
    """Return a field for text that must be there, with the contract's words where it is not. Blank text says nothing, so it is missing.

    `also` raises `ValidationError` for what else is wrong with it.
    """

    def refuse_blank(text: str) -> None:
        if not text.strip():
            raise ValidationError(missing)
        if also is not None:
            also(text)

    missing = f"Missing required field: {name}"
    messages: dict[str, Any] = {"required": missing, "null": missing, "invalid": f"Field {name} must be a string"}
    return fields.String(
        required=True, validate=refuse_blank, error_messages=messages, metadata={"description": description}
    )


def optional_text(name: str, **options: Any) -> fields.String:
    """Return a field for text that may be absent, and is a string where it is there."""
    wrong = f"Field {name} must be a string"
    return fields.String(error_messages={"null": wrong, "invalid": wrong}, **options)


def _require_printable(text: str) -> None:
    if not (text.isprintable() and text.strip() and len(text) <= LONGEST_NAME):
        raise ValidationError(f"Field language must have 1 to {LONGEST_NAME} printable characters")


class ErrorDetailSchema(Fields):
    """What went wrong."""

    code = fields.String(required=True)
    message = fields.String(required=True)


class ErrorResponseSchema(Fields):
    """Any failure. `request_id`: the run's, where there is one."""

    error = fields.Nested(ErrorDetailSchema, required=True)
    request_id = fields.String()


class AskedSchema(Fields):
    """What both pipelines are asked alike."""

    names_its_faults: ClassVar[bool] = True

    language = optional_text(
        "language",
        load_default=DEFAULT_LANGUAGE,
        validate=_require_printable,
        metadata={
            "description": "Python, JavaScript and TypeScript are run; other languages are checked as far as they can be parsed. "
            f"1 to {LONGEST_NAME} printable characters."
        },
    )
    context = optional_text(
        "context",
        metadata={
            "description": "What the code should do; examples in it are ground truth. Up to 20,000 characters, or what the operator set."
        },
    )


class ForwardRequestSchema(AskedSchema):
    """Code to verify."""

    code = required_text(
        "code", "Source code to verify. Up to 100,000 characters, unless the operator set it otherwise."
    )


class ReverseRequestSchema(AskedSchema):
    """Code to generate."""

    task = required_text(
        "task", "What the code should do. Up to 20,000 characters, unless the operator set it otherwise."
    )


class LinesSchema(Fields):
    """Lines of the submitted code, counted from 1, both included."""

    first = fields.Integer(required=True)
    last = fields.Integer(required=True)


class ProbeSchema(Fields):
    """What is run: statements, then a call whose value is compared, or which is to raise."""

    setup = fields.String()
    call = fields.String(required=True)
    expected = fields.String(metadata={"description": "An expression in the code's language."})
    raises = fields.String(metadata={"description": "The name of an exception; `*` for any."})


class ClaimSchema(Fields):
    """Something that the code is held to."""

    id = fields.String(required=True)
    category = one_of(Category, required=True)
    severity = one_of(Severity, required=True)
    description = fields.String(required=True)
    assertion = fields.String(required=True)
    testable = fields.Boolean(required=True, metadata={"description": "False: no run can decide it."})
    function = fields.String()
    lines = fields.Nested(LinesSchema)
    probe = fields.Nested(ProbeSchema)
    basis = fields.String(
        metadata={
            "description": "What the expected value rests on: `context`, `agreed` derivations, a `rule`, or a `model`."
        }
    )


class ClaimsSchema(Fields):
    """The claims."""

    count = fields.Integer(required=True)
    items = fields.List(fields.Nested(ClaimSchema), required=True)


class VerdictSchema(Fields):
    """What became of a claim."""

    claimId = fields.String(required=True)  # noqa: N815 - the contract's name
    verdict = one_of(Ruling, required=True)
    reasoning = fields.String(required=True)
    evidence = fields.String(required=True, metadata={"description": "The lines concerned, as they were submitted."})
    evidence_kind = one_of(EvidenceKind, required=True)
    lines = fields.Nested(LinesSchema)
    transcript = fields.List(
        fields.Dict(), required=True, metadata={"description": "What was run and what came of it, each run of it."}
    )
    opinion = fields.String(metadata={"description": "A model's. It decides nothing."})


class VerificationSchema(Fields):
    """The verdicts. passed + failed + partial + not_applicable = total."""

    passed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    partial = fields.Integer(required=True)  # type: ignore[assignment] # marshmallow takes fields out of the class
    not_applicable = fields.Integer(required=True)
    total = fields.Integer(required=True)
    items = fields.List(fields.Nested(VerdictSchema), required=True)


class RemediationItemSchema(Fields):
    """What to do about a claim that did not hold."""

    claimId = fields.String(required=True)  # noqa: N815
    title = fields.String(required=True)
    description = fields.String(required=True)
    action = one_of(Action, required=True)
    severity = one_of(Severity, required=True)
    codeGuidance = fields.String(required=True)  # noqa: N815
    verified = fields.Boolean(metadata={"description": "Whether the guidance, run, mended it. Absent: it was not run."})


class RemediationSchema(Fields):
    """What to do."""

    count = fields.Integer(required=True)
    items = fields.List(fields.Nested(RemediationItemSchema), required=True)


class StageSchema(Fields):
    """One attempt at one stage."""

    stage = one_of(Stage, required=True)
    attempt = fields.Integer(required=True)
    state = one_of(StageState, required=True)
    model = fields.String()
    calls = fields.Integer(required=True)
    input_tokens = fields.Integer(required=True)
    output_tokens = fields.Integer(required=True)
    cost_usd = fields.Decimal(required=True, metadata={"type": "number"})
    duration_ms = fields.Integer()
    input_hash = fields.String(required=True, metadata={"description": "SHA-256 of what it worked on."})
    started_at = fields.String(required=True, metadata=MOMENT)
    ended_at = fields.String(metadata=MOMENT)
    fault = fields.String()


class UsageSchema(Fields):
    """What a run took, all attempts at all stages together. `pipeline_calls`: calls of the model."""

    input_tokens = fields.Integer(required=True)
    output_tokens = fields.Integer(required=True)
    duration_ms = fields.Integer(required=True)
    pipeline_calls = fields.Integer(required=True)
    cost_usd = fields.Decimal(required=True, metadata={"type": "number"})
    stages = fields.List(fields.Nested(StageSchema), required=True)


class ForwardResponseSchema(Fields):
    """Verified code."""

    request_id = fields.String(required=True)
    code = fields.String(required=True, metadata={"description": "As it was submitted, byte for byte."})
    language = fields.String(required=True)
    claims = fields.Nested(ClaimsSchema, required=True)
    verification = fields.Nested(VerificationSchema, required=True)
    remediation = fields.Nested(RemediationSchema, required=True)
    usage = fields.Nested(UsageSchema, required=True)
    receipt_id = fields.String(required=True)


class SpecificationSchema(Fields):
    """Something that the generated code is held to."""

    id = fields.String(required=True)
    category = one_of(Category, required=True)
    severity = one_of(Severity, required=True)
    description = fields.String(required=True)
    assertion = fields.String(required=True)
    rationale = fields.String(required=True)
    probe = fields.Nested(ProbeSchema)


class SpecificationsSchema(Fields):
    """The specifications."""

    count = fields.Integer(required=True)
    items = fields.List(fields.Nested(SpecificationSchema), required=True)


class ConstraintSchema(Fields):
    """What the generated code must do, must not do, or should."""

    id = fields.String(required=True)
    type = one_of(ConstraintType, required=True)
    description = fields.String(required=True)
    pattern = fields.String(metadata={"description": "An example in code."})
    source = one_of(ConstraintSource, required=True)


class ConstraintsSchema(Fields):
    """The constraints."""

    count = fields.Integer(required=True)
    items = fields.List(fields.Nested(ConstraintSchema), required=True)


class SpecVerdictSchema(Fields):
    """What became of a specification."""

    specId = fields.String(required=True)  # noqa: N815
    status = one_of(SpecStatus, required=True)
    reasoning = fields.String(required=True)
    evidence_kind = one_of(EvidenceKind, required=True)
    transcript = fields.List(fields.Dict(), required=True)
    opinion = fields.String(metadata={"description": "A model's. It decides nothing."})
    disputed = fields.Boolean(
        required=True,
        metadata={"description": "An independent derivation sides with the code against this specification."},
    )


class SatisfactionSchema(Fields):
    """How far the code satisfies its specifications. satisfied + partial + unsatisfied + unknown = total."""

    satisfied = fields.Integer(required=True)
    partial = fields.Integer(required=True)  # type: ignore[assignment] # marshmallow takes fields out of the class
    unsatisfied = fields.Integer(required=True)
    unknown = fields.Integer(required=True)  # type: ignore[assignment]
    total = fields.Integer(required=True)
    percentage = fields.Float(required=True, metadata={"description": "100 · satisfied / total, to one decimal."})
    items = fields.List(fields.Nested(SpecVerdictSchema), required=True)


class AttemptSchema(Fields):
    """One try at the code."""

    number = fields.Integer(required=True)
    satisfied = fields.Integer(required=True)
    chosen = fields.Boolean(required=True)
    code = fields.String(required=True)


class ReverseResponseSchema(Fields):
    """Generated code."""

    request_id = fields.String(required=True)
    task = fields.String(required=True)
    language = fields.String(required=True)
    code = fields.String(required=True)
    specs = fields.Nested(SpecificationsSchema, required=True)
    constraints = fields.Nested(ConstraintsSchema, required=True)
    verification = fields.Nested(SatisfactionSchema, required=True)
    attempts = fields.List(fields.Nested(AttemptSchema), required=True)
    usage = fields.Nested(UsageSchema, required=True)
    receipt_id = fields.String(required=True)


class HealthSchema(Fields):
    """The process answers."""

    status = fields.String(required=True)
    version = fields.String(required=True)
    timestamp = fields.String(required=True, metadata=MOMENT)
    request_id = fields.String(required=True)
