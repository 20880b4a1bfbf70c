"""Receipts, epochs and anchors: what is proved, and how far the proof has come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.kernel.owner import Owner

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{9,127}")
"""The form of a receipt's id: ours are `run_` and 32 hex digits, a claim may bring its own."""


class ReceiptKind(StrEnum):
    """What kind of work a receipt is for. `CLAIMED`: its figures are a caller's word, which we sign as such."""

    JOB = "job"
    SESSION_REQUEST = "session_request"
    INFERENCE = "inference"
    CLAIMED = "claimed"
    VERIFICATION = "verification"


class ExecutionMode(StrEnum):
    """Where claimed work ran: on hardware of the caller's own, behind somebody's endpoint, or rented by the second."""

    BYO_RUNTIME = "byo_runtime"
    MANAGED_ENDPOINT = "managed_endpoint"
    RUNPOD_SERVERLESS = "runpod_serverless"


class EpochState(StrEnum):
    """Whether an epoch still grows."""

    OPEN = "open"
    CLOSED = "closed"


class EpochEvent(StrEnum):
    """What happens to an epoch."""

    CLOSED_BY_SIZE_OR_AGE = "size or age reached"
    CLOSED_BY_HAND = "closed by hand"


EPOCH_TRANSITIONS = {
    (EpochState.OPEN, EpochEvent.CLOSED_BY_SIZE_OR_AGE): EpochState.CLOSED,
    (EpochState.OPEN, EpochEvent.CLOSED_BY_HAND): EpochState.CLOSED,
}


class AnchorState(StrEnum):
    """How far an anchor has come."""

    INTENDED = "intended"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FINAL = "final"
    FAILED = "failed"


class AnchorEvent(StrEnum):
    """What happens to an anchor. A witness answers at once, so its cosignature is final when it arrives."""

    COSIGNED = "cosigned"
    SENT = "sent"
    SEEN = "seen"
    SETTLED = "settled"
    GAVE_UP = "gave up"
    COVERED = "covered by a later anchor"
    RETRIED = "asked for again"


ANCHOR_TRANSITIONS = {
    (AnchorState.INTENDED, AnchorEvent.COSIGNED): AnchorState.FINAL,
    (AnchorState.INTENDED, AnchorEvent.SENT): AnchorState.SUBMITTED,
    (AnchorState.SUBMITTED, AnchorEvent.SEEN): AnchorState.CONFIRMED,
    (AnchorState.CONFIRMED, AnchorEvent.SETTLED): AnchorState.FINAL,
    (AnchorState.INTENDED, AnchorEvent.GAVE_UP): AnchorState.FAILED,
    (AnchorState.SUBMITTED, AnchorEvent.GAVE_UP): AnchorState.FAILED,
    (AnchorState.INTENDED, AnchorEvent.COVERED): AnchorState.FINAL,
    (AnchorState.FAILED, AnchorEvent.COVERED): AnchorState.FINAL,
    (AnchorState.FAILED, AnchorEvent.RETRIED): AnchorState.INTENDED,
}

WITNESS = "witness"


@dataclass(frozen=True)
class Ran:
    """What ran. Times in milliseconds; `ttft_ms` is the time to the first token.

    Where no passport is named, those of the configured upstream are: ids that follow from its address.
    """

    model_requested: str
    model_answered: str
    upstream: str
    tokens_in: int
    tokens_out: int
    ttft_ms: int
    total_latency_ms: int
    model_passport_id: str | None = None
    compute_passport_id: str | None = None
    runtime: str = "openai-compatible"


@dataclass(frozen=True)
class Committed:
    """A commitment made while the bytes were at hand, and the salt that opens it."""

    salt: bytes = field(repr=False)
    digest: bytes


@dataclass(frozen=True)
class Paid:
    """The money of a unit of work, in millisatoshi. `payment_hash` of the invoice that paid for it."""

    received_msat: int
    charged_msat: int
    owed_back_msat: int
    payment_hash: bytes | None = None
    btc_price_usd: Decimal | None = None
    charge_usd: Decimal | None = None


@dataclass(frozen=True)
class Draft:
    """A receipt before it is numbered and signed. `tenant` is hashed with a key; `input` and `output` are committed to, not kept.

    `committed` holds what was committed to before, by the same names. `receipt_id`: where the work has told its own already;
    `project` is the caller's grouping of its work, whose epochs are views. `extra` fields are signed as they are.
    """

    kind: ReceiptKind
    owner: Owner
    tenant: str
    finish_reason: str
    paid: Paid | None = None
    ran: Ran | None = None
    input: bytes | None = field(default=None, repr=False)
    output: bytes | None = field(default=None, repr=False)
    committed: Mapping[str, Committed] = field(default_factory=dict)
    receipt_id: str | None = None
    policy_hash: str | None = None
    used_fallback: bool = False
    project: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claimed:
    """What a caller says of work that we did not see. `figures` go into the signed body as they are; absent means absent.

    `run_id`: the caller's own name for the run, then the receipt's id too.
    """

    figures: Mapping[str, Any]
    run_id: str | None = None
    project: str | None = None


@dataclass(frozen=True)
class Receipt:
    """A signed receipt. `leaf_index` is None until the sequencer has integrated it."""

    receipt_id: str
    kind: ReceiptKind
    body: dict[str, Any]
    canonical: bytes
    receipt_hash: bytes
    signature: bytes
    signer_kid: str
    issued_at: datetime
    leaf_index: int | None


@dataclass(frozen=True)
class LogHead:
    """The newest signed state of the log. `note` is the checkpoint (a C2SP signed note)."""

    size: int
    root: bytes
    note: str


@dataclass(frozen=True)
class Epoch:
    """A size boundary of the one log: receipts `start_size` to `end_size` - 1.

    Of a project's epoch `project` is the name and `receipts` how many of those are the project's; `number` then counts its epochs.
    """

    number: int
    epoch_id: str
    state: EpochState
    start_size: int
    end_size: int | None
    root: bytes | None
    opened_at: datetime
    closed_at: datetime | None
    project: str | None = None
    receipts: int | None = None


@dataclass(frozen=True)
class Anchor:
    """One target's word for one log size. `retries`: how often it was asked for again after it had failed."""

    id: int
    target: str
    size: int
    state: AnchorState
    evidence: str | None
    target_key: str | None
    fault: str | None
    tries: int
    created_at: datetime
    ended_at: datetime | None
    retries: int = 0


@dataclass(frozen=True)
class SignerKey:
    """A published receipt key, valid for leaves from `valid_from_index` up to, not including, `valid_to_index`."""

    kid: str
    public_key: bytes
    valid_from_index: int
    valid_to_index: int | None


class EpochStatus(StrEnum):
    """What the API calls an epoch's status: derived from its anchors, stored nowhere."""

    OPEN = "open"
    ANCHORING = "anchoring"
    ANCHORED = "anchored"
    FAILED = "failed"


@dataclass(frozen=True)
class EpochView:
    """An epoch with its anchors and the status that follows from them."""

    epoch: Epoch
    status: EpochStatus
    anchors: list[Anchor]


@dataclass(frozen=True)
class EpochStats:
    """The log's epochs in numbers."""

    total_epochs: int
    total_receipts: int
    by_status: dict[str, int]
    last_anchor_at: datetime | None
    anchored_receipts: int


@dataclass(frozen=True)
class Verification:
    """What holds of a receipt. `inclusion_valid` is against the newest signed checkpoint, None until integrated."""

    hash_valid: bool
    signature_valid: bool
    inclusion_valid: bool | None
    leaf_index: int | None
    epoch: EpochView | None


@dataclass(frozen=True)
class Proof:
    """An RFC 6962 audit path. `directions`: R when the sibling goes on the right, L on the left, bottom up."""

    receipt: Receipt
    leaf_index: int
    path: list[bytes]
    directions: list[str]
    head: LogHead
