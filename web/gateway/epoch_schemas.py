"""Bodies and answers of what changes epochs: opening, committing, asking again."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.receipts.commits import MOST_AT_ONCE
from shared.receipts.model import EpochStatus
from shared.receipts.projects import MOST_CHARACTERS
from web.body import Fields
from web.gateway.schemas import AnchorTargetSchema, ErrorResponseSchema
from web.typed_fields import Flag

_STATUS = validate.OneOf([str(status) for status in EpochStatus])


class OpenEpochSchema(Fields):
    """Whose epoch: a project's, or without one the log's own."""

    may_be_absent = True
    project_id = fields.String(validate=validate.Length(1, MOST_CHARACTERS))


class CommitRootSchema(Fields):
    """Which epoch; with neither id nor project the log's open one. `force` accepts an empty one."""

    may_be_absent = True
    project_id = fields.String()
    epoch_id = fields.String()
    force = Flag()


class CommitRootsSchema(Fields):
    """Which epochs."""

    epoch_ids = fields.List(fields.String(), required=True, validate=validate.Length(1, MOST_AT_ONCE))


class CommittedSchema(Fields):
    """What was committed. `tx` says in words how the targets stand, as long as none of them is a chain."""

    success = fields.Boolean(required=True)
    epoch_id = fields.String(required=True)
    root = fields.String(required=True)
    tx = fields.String(required=True)
    leaf_count = fields.Integer()
    on_chain = fields.Boolean()
    status = fields.String(validate=_STATUS)
    tree_size = fields.Integer(metadata={"description": "The log size that is anchored: the end of the epoch."})
    anchors = fields.List(fields.Nested(AnchorTargetSchema))


class NotAnchoredSchema(ErrorResponseSchema):
    """Nobody vouches for the epoch: no target is configured, or each has refused."""

    epoch_id = fields.String()
    root = fields.String()


class CommittedOneSchema(Fields):
    """One epoch of several. `signature` is absent as long as no target is a chain."""

    success = fields.Boolean()
    epoch_id = fields.String()
    root = fields.String()
    signature = fields.String()
    error = fields.String()
    error_code = fields.String()
    leaf_count = fields.Integer()
    status = fields.String(validate=_STATUS)
    tree_size = fields.Integer()
    anchors = fields.List(fields.Nested(AnchorTargetSchema))


class CommittedAllSchema(Fields):
    """How each ended, in the order in which they were named. `success`: none failed."""

    success = fields.Boolean(required=True)
    total = fields.Integer(required=True)
    successful_count = fields.Integer(required=True)
    failed_count = fields.Integer(required=True)
    results = fields.List(fields.Nested(CommittedOneSchema), required=True)


class RetriedSchema(Fields):
    """An epoch that is anchored anew."""

    epoch_id = fields.String(required=True)
    status = fields.String(required=True)
    retry_count = fields.Integer()


class RetriedResponseSchema(Fields):
    """An epoch that is anchored anew."""

    success = fields.Boolean(required=True)
    epoch = fields.Nested(RetriedSchema, required=True)
