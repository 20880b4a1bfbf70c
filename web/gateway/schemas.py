"""The gateway's shapes: the contract's, member for member, and what we add."""

from __future__ import annotations

from marshmallow import fields, validate

from shared.receipts.model import EpochStatus
from web.body import Fields

HEX = {"pattern": "^[0-9a-f]{64}$"}
HEALTH = ("healthy", "degraded", "down")


class ErrorResponseSchema(Fields):
    """Any failure."""

    success = fields.Boolean()
    error = fields.String()
    message = fields.String()
    error_code = fields.String()
    details = fields.Raw()
    request_id = fields.String()


class MetricsSchema(Fields):
    """What the work took. Times in milliseconds."""

    ttft_ms = fields.Integer(required=True)
    tokens_in = fields.Integer(required=True)
    tokens_out = fields.Integer(required=True)
    total_latency_ms = fields.Integer()


class ReceiptSchema(Fields):
    """The contract's view of a receipt. What is signed is `body`, nothing else."""

    schema_version = fields.String()
    run_id = fields.String(required=True)
    model_passport_id = fields.String(required=True)
    compute_passport_id = fields.String(required=True)
    policy_hash = fields.String(required=True)
    runtime = fields.String(required=True)
    timestamp = fields.Integer(required=True)
    metrics = fields.Nested(MetricsSchema, required=True)
    receipt_hash = fields.String(required=True)
    receipt_signature = fields.String(required=True)
    signer_pubkey = fields.String(required=True)
    signer_type = fields.String(required=True, validate=validate.OneOf(["orchestrator", "compute", "worker"]))
    _mmr_leaf_index = fields.Integer()
    trace_id = fields.String()
    image_hash = fields.String()
    model_hash = fields.String()
    attestation = fields.Dict()
    execution_mode = fields.String()
    node_id = fields.String()
    runtime_hash = fields.String()
    gpu_fingerprint = fields.String()
    assurance = fields.String(
        metadata={"description": "`signed`: we saw the work; `claimed`: a caller's word, signed as such."}
    )
    receipt_id = fields.String()
    kind = fields.String()
    signer_kid = fields.String()
    body = fields.Dict(metadata={"description": "The signed body: canonicalise (RFC 8785), hash (SHA-256), compare."})


class ReceiptResponseSchema(Fields):
    """One receipt."""

    success = fields.Boolean(required=True)
    receipt = fields.Nested(ReceiptSchema, required=True)


class AnchorTargetSchema(Fields):
    """One target's word for an epoch. A witness's cosignature is no chain transaction."""

    target = fields.String()
    state = fields.String()
    size = fields.Integer()
    valid = fields.Boolean(metadata={"description": "Its evidence was checked anew against the pinned key."})


class AnchoredSchema(Fields):
    """The epoch that holds the receipt, and who vouches for it."""

    epoch_id = fields.String()
    status = fields.String(validate=validate.OneOf([str(status) for status in EpochStatus]))
    targets = fields.List(fields.Nested(AnchorTargetSchema))


class ReceiptVerificationSchema(Fields):
    """What holds of a receipt. `inclusion_valid` is absent until the receipt is integrated into the log."""

    success = fields.Boolean()
    valid = fields.Boolean()
    hash_valid = fields.Boolean()
    signature_valid = fields.Boolean()
    inclusion_valid = fields.Boolean()
    expected_hash = fields.String()
    computed_hash = fields.String()
    merkle_root = fields.String()
    leaf_index = fields.Integer()
    anchored = fields.Raw(
        metadata={
            "description": "`pending`, or the epoch with its targets.",
            "anyOf": [{"const": "pending"}, {"type": "object"}],
        }
    )


class ReceiptProofSchema(Fields):
    """An RFC 6962 audit path. `checkpoint` is the signed note of just `tree_size` and `root`."""

    run_id = fields.String(required=True)
    receipt_hash = fields.String(required=True)
    leaf = fields.String()
    leaf_index = fields.Integer(required=True)
    proof = fields.List(fields.String(), required=True)
    root = fields.String(required=True)
    directions = fields.List(fields.String(validate=validate.OneOf(["L", "R"])))
    leaf_hash = fields.String(metadata={"description": "SHA-256(0x00 ‖ leaf): what the path starts from."})
    tree_size = fields.Integer()
    checkpoint = fields.String()


class ReceiptProofResponseSchema(Fields):
    """One proof."""

    success = fields.Boolean(required=True)
    proof = fields.Nested(ReceiptProofSchema, required=True)


class InclusionProofSchema(Fields):
    """An audit path without what it proves."""

    leaf_index = fields.Integer()
    proof = fields.List(fields.String())
    root = fields.String()
    directions = fields.List(fields.String())
    leaf_hash = fields.String()
    tree_size = fields.Integer()
    checkpoint = fields.String()


class VerifiedEpochSchema(Fields):
    """The epoch of a verified receipt."""

    epoch_id = fields.String()
    mmr_root = fields.String()
    finalized_at = fields.Integer()
    status = fields.String()


class ReceiptHashVerificationSchema(Fields):
    """What holds of the receipt with this hash. `on_chain_verified` speaks of chain transactions only."""

    success = fields.Boolean(required=True)
    verified = fields.Boolean(required=True)
    receipt_hash = fields.String(required=True)
    run_id = fields.String()
    hash_valid = fields.Boolean()
    signature_valid = fields.Boolean()
    signer_pubkey = fields.String()
    signer_type = fields.String()
    execution_mode = fields.String()
    runtime_hash = fields.String()
    gpu_fingerprint = fields.String()
    inclusion_proof = fields.Nested(InclusionProofSchema, allow_none=True)
    inclusion_valid = fields.Boolean()
    epoch = fields.Nested(VerifiedEpochSchema, allow_none=True)
    on_chain_verified = fields.Boolean()
    tx_signature = fields.String(allow_none=True)
    anchored = fields.Raw()


class MmrRootSchema(Fields):
    """The log's root: RFC 6962's tree head of all receipts."""

    success = fields.Boolean(required=True)
    root = fields.String(required=True, metadata=HEX)
    leaf_count = fields.Integer(required=True)


class SignerKeySchema(Fields):
    """A key that signs or signed receipts, with the log indexes at which it counts (`valid_to_index` excluded)."""

    kid = fields.String(required=True)
    pubkey = fields.String(required=True)
    valid_from_index = fields.Integer(required=True)
    valid_to_index = fields.Integer()


class SignerResponseSchema(Fields):
    """The key that signs now, and every key there was."""

    success = fields.Boolean(required=True)
    signer_type = fields.String()
    pubkey = fields.String(required=True)
    kid = fields.String()
    keys = fields.List(fields.Nested(SignerKeySchema))
    trust_url = fields.String()


class CheckpointSchema(Fields):
    """The newest checkpoint, for who prefers JSON to a signed note."""

    success = fields.Boolean(required=True)
    size = fields.Integer(required=True)
    root = fields.String(required=True, metadata=HEX)
    note = fields.String(required=True)


class EpochSchema(Fields):
    """An epoch: receipts `start_leaf_index` to `end_leaf_index`, both included. Times in Unix seconds.

    A project's epoch is a view of these: `leaf_count` of them are the project's, and `epoch_index` counts its epochs.
    """

    epoch_id = fields.String(required=True)
    project_id = fields.String()
    mmr_root = fields.String(required=True)
    leaf_count = fields.Integer(required=True)
    created_at = fields.Integer(required=True)
    finalized_at = fields.Integer()
    status = fields.String(required=True, validate=validate.OneOf([str(status) for status in EpochStatus]))
    error = fields.String()
    start_leaf_index = fields.Integer()
    end_leaf_index = fields.Integer()
    epoch_index = fields.Integer()
    tree_size = fields.Integer(
        metadata={"description": "The log size at which the epoch ends, which is what is anchored."}
    )
    agent_passport_id = fields.String()
    retry_count = fields.Integer()
    anchors = fields.List(fields.Nested(AnchorTargetSchema))


class EpochResponseSchema(Fields):
    """One epoch."""

    success = fields.Boolean(required=True)
    epoch = fields.Nested(EpochSchema, required=True)


class PaginationSchema(Fields):
    """Which part of how much."""

    total = fields.Integer(required=True)
    page = fields.Integer(required=True)
    per_page = fields.Integer(required=True)
    total_pages = fields.Integer(required=True)


class EpochListSchema(Fields):
    """A page of epochs, newest first."""

    success = fields.Boolean(required=True)
    epochs = fields.List(fields.Nested(EpochSchema), required=True)
    pagination = fields.Nested(PaginationSchema, required=True)


class WaitingEpochSchema(Fields):
    """A closed epoch that waits for an anchor."""

    epoch_id = fields.String()
    leaf_count = fields.Integer()
    created_at = fields.Integer()
    mmr_root = fields.String()
    epoch_index = fields.Integer()
    tree_size = fields.Integer()


class EpochsReadyResponseSchema(Fields):
    """Closed epochs that wait for an anchor."""

    success = fields.Boolean(required=True)
    count = fields.Integer(required=True)
    epochs = fields.List(fields.Nested(WaitingEpochSchema), required=True)


class EpochCountsSchema(Fields):
    """How many epochs stand where."""

    open = fields.Integer()
    anchoring = fields.Integer()
    anchored = fields.Integer()
    failed = fields.Integer()


class EpochFiguresSchema(Fields):
    """The log's epochs in numbers."""

    total_epochs = fields.Integer()
    total_receipts = fields.Integer()
    by_status = fields.Nested(EpochCountsSchema)
    avg_receipts_per_epoch = fields.Decimal()
    last_anchor_time = fields.Integer()
    open_epochs = fields.Integer()
    anchoring_epochs = fields.Integer()
    anchored_epochs = fields.Integer()
    failed_epochs = fields.Integer()
    total_receipts_anchored = fields.Integer()


class EpochStatsResponseSchema(Fields):
    """The log's epochs in numbers."""

    success = fields.Boolean(required=True)
    stats = fields.Nested(EpochFiguresSchema, required=True)


class EpochVerificationSchema(Fields):
    """Whether an epoch's anchors hold. `on_chain_root` and `tx_signature` are null: no chain is among the targets."""

    success = fields.Boolean(required=True)
    valid = fields.Boolean(required=True)
    on_chain_root = fields.String(allow_none=True)
    expected_root = fields.String(allow_none=True)
    tx_signature = fields.String(allow_none=True)
    error = fields.String(allow_none=True)
    anchors = fields.List(fields.Nested(AnchorTargetSchema))


class TransactionSchema(Fields):
    """A chain transaction that carries an epoch's root."""

    success = fields.Boolean(required=True)
    tx_signature = fields.String(required=True)
    slot = fields.Integer()
    block_time = fields.Integer()


class AnchoringHealthSchema(Fields):
    """How anchoring fares, told from its own records: this process asks no target."""

    success = fields.Boolean(required=True)
    connected = fields.Boolean(required=True)
    network = fields.String()
    authority = fields.String(metadata={"description": "The pinned key of who vouches: a witness's verifier key."})
    authority_configured = fields.Boolean()
    mock_mode = fields.Boolean()
    error = fields.String()
    targets = fields.List(fields.String())
    last_anchor_time = fields.Integer()


class HealthCheckResultSchema(Fields):
    """One part. `latency` in milliseconds."""

    status = fields.String(required=True, validate=validate.OneOf(HEALTH))
    latency = fields.Float()
    error = fields.String()
    details = fields.Dict()


class SystemHealthSchema(Fields):
    """The parts this service cannot work without."""

    status = fields.String(required=True, validate=validate.OneOf(HEALTH))
    timestamp = fields.String(required=True, metadata={"format": "date-time"})
    uptime = fields.Float(required=True)
    version = fields.String(required=True)
    dependencies = fields.Dict(keys=fields.String(), values=fields.Nested(HealthCheckResultSchema), required=True)


class LivenessSchema(Fields):
    """The process answers."""

    status = fields.String(required=True)
    timestamp = fields.String(required=True, metadata={"format": "date-time"})
    uptime = fields.Float(required=True)


class ReadinessSchema(Fields):
    """Everything a request needs is there: stores, a consumer for every queue, the log."""

    status = fields.String(required=True)
    timestamp = fields.String(metadata={"format": "date-time"})
    error = fields.String()
    dependencies = fields.Dict(keys=fields.String(), values=fields.Nested(HealthCheckResultSchema))


class NotReadySchema(Fields):
    """Something a request needs is not there; `error` names it."""

    status = fields.String()
    timestamp = fields.String(metadata={"format": "date-time"})
    error = fields.String()
    dependencies = fields.Dict(keys=fields.String(), values=fields.Nested(HealthCheckResultSchema))


class ResourcesSchema(Fields):
    """What this process uses."""

    memory = fields.Dict()
    cpu = fields.Dict()


class DetailedHealthSchema(SystemHealthSchema):
    """The parts, the figures and this process."""

    environment = fields.String(required=True)
    statistics = fields.Dict(allow_none=True)
    resources = fields.Nested(ResourcesSchema)


class EpochQuerySchema(Fields):
    """Which epochs."""

    project_id = fields.String()
    status = fields.String(validate=validate.OneOf([str(status) for status in EpochStatus]))
    page = fields.Integer(load_default=1, validate=validate.Range(min=1))
    per_page = fields.Integer(load_default=20, validate=validate.Range(min=1, max=100))


class CurrentEpochQuerySchema(Fields):
    """Whose epoch."""

    project_id = fields.String()
