"""The shapes of runs, whichever pipeline they are of."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.verification.model import MOST_LISTED, Pipeline, Stage, VerificationState
from web.body import Fields
from web.pipelines.schemas import (
    MOMENT,
    ErrorDetailSchema,
    UsageSchema,
    one_of,
)


class ListedRunSchema(Fields):
    """A run, without what came of it."""

    request_id = fields.String(required=True)
    pipeline = one_of(Pipeline, required=True)
    state = one_of(VerificationState, required=True)
    stage = one_of(
        Stage, required=True, metadata={"description": "The one at work or next; of one that failed, where it did."}
    )
    mode = fields.String(required=True, validate=validate.OneOf(["live", "test"]))
    language = fields.String(required=True)
    model = fields.String()
    cancel_asked = fields.Boolean(required=True)
    resumed = fields.Integer(required=True, metadata={"description": "How often."})
    created_at = fields.String(required=True, metadata=MOMENT)
    started_at = fields.String(metadata=MOMENT)
    ended_at = fields.String(metadata=MOMENT)
    duration_ms = fields.Integer()
    erased = fields.Boolean(
        required=True, metadata={"description": "What was submitted and what came of it was deleted by age."}
    )
    error = fields.Nested(ErrorDetailSchema, metadata={"description": "Why it failed."})
    receipt_id = fields.String()


class SubmissionSchema(Fields):
    """What was submitted, byte for byte."""

    code = fields.String()
    task = fields.String()
    context = fields.String()


class RunSchema(ListedRunSchema):
    """A run as it stands."""

    asked = fields.Nested(SubmissionSchema)
    usage = fields.Nested(UsageSchema, required=True)
    result = fields.Dict(metadata={"description": "What the pipeline's own call answers with, once it is complete."})
    salts = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={
            "description": "What opens the receipt's commitments, in hex. Yours alone: who has a salt can test guesses."
        },
    )


class RunListSchema(Fields):
    """Runs, newest first."""

    runs = fields.List(fields.Nested(ListedRunSchema), required=True)
    next_before = fields.String(metadata={"description": "`before` of the next page, where there is one."})


class RunPageSchema(Fields):
    """Which runs."""

    before = fields.String(metadata={"description": "Only runs older than the one with this id."})
    limit = fields.Integer(load_default=20, validate=validate.Range(1, MOST_LISTED))
