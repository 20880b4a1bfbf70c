"""The body of a claimed receipt: the contract's CreateReceiptRequest, and the project that it counts for."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, pre_load, validate

from shared.receipts.model import RUN_ID
from shared.receipts.projects import MOST_CHARACTERS
from web.body import Fields
from web.door import GREATEST_INTEGER
from web.typed_fields import Document, Whole

_COUNT = validate.Range(0, GREATEST_INTEGER)
_NAME = validate.Length(1, 256)
_HASH = validate.Regexp(r"\A[a-f0-9]{64}\Z", error="must be 64 lower-case hex digits")
_RUNTIME_HASH = validate.Regexp(
    r"\A(sha256:)?[a-f0-9]{64}\Z", error="must be 64 lower-case hex digits, with sha256: before them or not"
)


class CreateReceiptSchema(Fields):
    """What a caller says of work that we did not see. Every field is signed as it is; null is absent."""

    model_passport_id = fields.String(required=True, validate=_NAME)
    compute_passport_id = fields.String(required=True, validate=_NAME)
    policy_hash = fields.String(required=True, validate=_HASH)
    runtime = fields.String(required=True, validate=_NAME)
    tokens_in = Whole(required=True, validate=_COUNT)
    tokens_out = Whole(required=True, validate=_COUNT)
    ttft_ms = Whole(required=True, validate=_COUNT)
    total_latency_ms = Whole(validate=_COUNT)
    timestamp = Whole(validate=_COUNT, metadata={"description": "When the work was done, in Unix seconds."})
    trace_id = fields.String(validate=_NAME)
    run_id = fields.String(
        validate=validate.Regexp(rf"\A{RUN_ID.pattern}\Z"),
        metadata={
            "description": "Your own name for the run, then the receipt's id too: as public as it is easy to guess."
        },
    )
    image_hash = fields.String(validate=_HASH)
    model_hash = fields.String(validate=_HASH)
    attestation = Document()
    execution_mode = fields.String(validate=_NAME)
    node_id = fields.String(validate=_NAME)
    runtime_hash = fields.String(validate=_RUNTIME_HASH)
    gpu_fingerprint = fields.String(validate=_NAME)
    project_id = fields.String(
        validate=validate.Length(1, MOST_CHARACTERS), metadata={"description": "Whose epochs it counts for."}
    )

    @pre_load
    def without_nulls(self, body: Any, **_: Any) -> Any:
        """Managed endpoints state their runtime as null: that is said by leaving it out, here as in what is signed."""
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body
