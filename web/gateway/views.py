"""Receipts, proofs and epochs as the gateway's contract shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from shared.merkle.hashing import leaf_hash
from shared.receipts.commits import Commit
from shared.receipts.model import (
    Anchor,
    AnchorState,
    Epoch,
    EpochStatus,
    EpochView,
    LogHead,
    Proof,
    Receipt,
    SignerKey,
    Verification,
)

EMPTY_ROOT = hashlib.sha256(b"").digest()
SIGNER_TYPE = "orchestrator"
PENDING = "pending"
STATED = (
    "trace_id",
    "image_hash",
    "model_hash",
    "attestation",
    "execution_mode",
    "node_id",
    "runtime_hash",
    "gpu_fingerprint",
    "assurance",
)
"""What a signed body may say and the contract has a field for, besides who vouches for it all."""
OF_AN_AGENT = "agnt_"
NO_TARGET_ACCEPTED = "every anchor target refused or did not answer"


def receipt_shown(receipt: Receipt, keys: Iterable[SignerKey]) -> dict[str, Any]:
    """Return the contract's Receipt. Where nothing ran, the passports are empty and the figures 0: the contract demands them."""
    body = receipt.body
    shown = {
        "schema_version": body.get("schema_version"),
        "run_id": receipt.receipt_id,
        "receipt_id": receipt.receipt_id,
        "kind": str(receipt.kind),
        **{name: body.get(name, "") for name in ("model_passport_id", "compute_passport_id", "policy_hash", "runtime")},
        "timestamp": body.get("timestamp", int(receipt.issued_at.timestamp())),
        **{name: body.get(name) for name in STATED},
        "metrics": {name: body.get(name, 0) for name in ("ttft_ms", "tokens_in", "tokens_out", "total_latency_ms")},
        "receipt_hash": receipt.receipt_hash.hex(),
        "receipt_signature": receipt.signature.hex(),
        "signer_pubkey": public_key_of(receipt, keys),
        "signer_type": SIGNER_TYPE,
        "signer_kid": receipt.signer_kid,
        "_mmr_leaf_index": receipt.leaf_index,
        "body": body,
    }
    return present(shown)


def public_key_of(receipt: Receipt, keys: Iterable[SignerKey]) -> str:
    """Return the published key that signed, in hex; empty where none of that name is published."""
    return next((key.public_key.hex() for key in keys if key.kid == receipt.signer_kid), "")


def is_valid(verification: Verification) -> bool:
    """Tell whether hash and signature hold, and no check that could be made failed."""
    return verification.hash_valid and verification.signature_valid and verification.inclusion_valid is not False


def verification_shown(receipt: Receipt, found: Verification, proof: Proof | None) -> dict[str, Any]:
    """Return the contract's ReceiptVerification."""
    shown = {
        "success": True,
        "valid": is_valid(found),
        "hash_valid": found.hash_valid,
        "signature_valid": found.signature_valid,
        "inclusion_valid": found.inclusion_valid,
        "expected_hash": receipt.receipt_hash.hex(),
        "computed_hash": hashlib.sha256(receipt.canonical).hexdigest(),
        "merkle_root": proof.head.root.hex() if proof else None,
        "leaf_index": found.leaf_index,
        "anchored": anchored_shown(found.epoch),
    }
    return present(shown)


def hash_verification_shown(
    receipt: Receipt, found: Verification, proof: Proof | None, keys: Iterable[SignerKey]
) -> dict[str, Any]:
    """Return the contract's ReceiptHashVerification. No target of ours is a chain, so nothing is verified on one."""
    epoch = None
    if found.epoch is not None:
        ended = finalized_at(found.epoch)
        root = found.epoch.epoch.root
        shown = {
            "epoch_id": found.epoch.epoch.epoch_id,
            "mmr_root": root.hex() if root else None,
            "finalized_at": ended,
        }
        epoch = present({**shown, "status": str(found.epoch.status)})
    inclusion = {"inclusion_valid": found.inclusion_valid} if found.inclusion_valid is not None else {}
    ran_on = {name: receipt.body.get(name) for name in ("execution_mode", "runtime_hash", "gpu_fingerprint")}
    return {
        "success": True,
        "verified": is_valid(found),
        "receipt_hash": receipt.receipt_hash.hex(),
        "run_id": receipt.receipt_id,
        "hash_valid": found.hash_valid,
        "signature_valid": found.signature_valid,
        "signer_pubkey": public_key_of(receipt, keys),
        "signer_type": SIGNER_TYPE,
        **present(ran_on),
        "inclusion_proof": path_shown(proof) if proof else None,
        **inclusion,
        "epoch": epoch,
        "on_chain_verified": False,
        "tx_signature": None,
        "anchored": anchored_shown(found.epoch),
    }


def proof_shown(proof: Proof) -> dict[str, Any]:
    """Return the contract's ReceiptProof, with what makes it checkable: the size and the signed note of that root."""
    receipt_hash = proof.receipt.receipt_hash
    return {
        "run_id": proof.receipt.receipt_id,
        "receipt_hash": receipt_hash.hex(),
        "leaf": receipt_hash.hex(),
        **path_shown(proof),
    }


def path_shown(proof: Proof) -> dict[str, Any]:
    """Return the audit path."""
    return {
        "leaf_index": proof.leaf_index,
        "proof": [sibling.hex() for sibling in proof.path],
        "root": proof.head.root.hex(),
        "directions": proof.directions,
        "leaf_hash": leaf_hash(proof.receipt.receipt_hash).hex(),
        "tree_size": proof.head.size,
        "checkpoint": proof.head.note,
    }


def anchored_shown(view: EpochView | None) -> str | dict[str, Any]:
    """Return the epoch and its targets once one of them vouches for it, `pending` before."""
    if view is None or view.status is not EpochStatus.ANCHORED:
        return PENDING
    targets = [target_shown(anchor) for anchor in view.anchors]
    return {"epoch_id": view.epoch.epoch_id, "status": str(view.status), "targets": targets}


def epoch_shown(view: EpochView, head: LogHead | None) -> dict[str, Any]:
    """Return the contract's Epoch. One that is open is shown as of the log's `head`, so its root and count still move."""
    epoch = view.epoch
    end = epoch.end_size if epoch.end_size is not None else max(head.size if head else 0, epoch.start_size)
    root = epoch.root or (head.root if head else EMPTY_ROOT)
    shown = {
        "epoch_id": epoch.epoch_id,
        "mmr_root": root.hex(),
        "leaf_count": _receipts_in(epoch, end),
        "created_at": int(epoch.opened_at.timestamp()),
        "finalized_at": finalized_at(view),
        "status": str(view.status),
        "error": NO_TARGET_ACCEPTED if view.status is EpochStatus.FAILED else None,
        "start_leaf_index": epoch.start_size,
        "end_leaf_index": end - 1 if epoch.end_size is not None and end > epoch.start_size else None,
        "epoch_index": epoch.number,
        "project_id": epoch.project,
        "agent_passport_id": epoch.project if (epoch.project or "").startswith(OF_AN_AGENT) else None,
        "retry_count": retries_of(view.anchors),
        "tree_size": epoch.end_size,
        "anchors": [target_shown(anchor) for anchor in view.anchors],
    }
    return present(shown)


def commit_shown(commit: Commit) -> dict[str, Any]:
    """Return what was committed and how its targets stand. An epoch that was committed empty may still be open."""
    epoch = commit.view.epoch
    return {
        "epoch_id": epoch.epoch_id,
        "root": commit.root.hex(),
        "leaf_count": _receipts_in(epoch, commit.size),
        "status": str(commit.view.status),
        "tree_size": commit.size,
        "anchors": [target_shown(anchor) for anchor in commit.anchors],
    }


def tx_in_words(commit: Commit) -> str:
    """Return what stands where a chain's transaction would: words that nobody takes for one."""
    states = ", ".join(f"{anchor.target}: {anchor.state}" for anchor in commit.anchors)
    return f"no chain transaction ({states})"


def retries_of(anchors: list[Anchor]) -> int:
    """Return how often failed anchors of an epoch were asked for again."""
    return max((anchor.retries for anchor in anchors), default=0)


def target_shown(anchor: Anchor) -> dict[str, Any]:
    """Return one target's word."""
    return {"target": anchor.target, "state": str(anchor.state), "size": anchor.size}


def finalized_at(view: EpochView) -> int | None:
    """Return when anchoring ended, in Unix seconds: at the first target that vouched, or at the last that failed."""
    vouched = [anchor.ended_at for anchor in view.anchors if anchor.ended_at and anchor.state is AnchorState.FINAL]
    if vouched:
        return int(min(vouched).timestamp())
    ended = [anchor.ended_at for anchor in view.anchors if anchor.ended_at]
    return int(max(ended).timestamp()) if ended and view.status is EpochStatus.FAILED else None


def _receipts_in(epoch: Epoch, end: int) -> int:
    """Return how many receipts an epoch holds: of the log's all up to `end`, of a project's those of the project."""
    return end - epoch.start_size if epoch.project is None else epoch.receipts or 0


def present(shown: dict[str, Any]) -> dict[str, Any]:
    """Return `shown` without what is absent."""
    return {name: value for name, value in shown.items() if value is not None}
