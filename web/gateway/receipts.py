"""Receipts: claim one, read one by its id or its hash, verify it, prove it, take it along."""

from __future__ import annotations

import re
from typing import Any

from flask import Response

from shared.access.model import Scope
from shared.kernel.errors import InvalidInput, NotFound
from shared.kernel.signing import SigningKey
from shared.receipts.model import Claimed, Proof, Receipt
from shared.receipts.projects import require_project
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations
from web.gateway import schemas
from web.gateway.claim_schemas import CreateReceiptSchema
from web.gateway.views import (
    SIGNER_TYPE,
    hash_verification_shown,
    present,
    proof_shown,
    receipt_shown,
    verification_shown,
)
from web.idempotency import key_claim

operations = Operations("Receipts", __name__, description="Signed receipts and their proofs")

_KEY = caller(Scope.INFERENCE, anonymous=False)
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_HASH_PARAMETER = {"in": "path", "name": "receipt_hash", "schema": {"type": "string", "minLength": 64, "maxLength": 64}}


@operations.post(
    "/v1/receipts",
    "lucid_create_receipt",
    Answers(schemas.ReceiptResponseSchema, errors=(400, 500, 503)),
    body=CreateReceiptSchema,
    guard=_KEY,
)
def create_receipt(body: dict[str, Any]) -> dict[str, Any]:
    """Have work that was done elsewhere receipted, on your word

    `assurance` is `claimed`: we sign that you said so, not that it was so. The same claim about the same run again gets the same
    receipt, other words about it 409, and so does a run of ours, which has a receipt of its own.
    """
    who = principal()
    run_id, project = body.pop("run_id", None), body.pop("project_id", None)
    if project is not None:
        require_project(project)
    claimed = Claimed({**body, "mode": str(who.mode)}, run_id, project)
    receipt = container().claimed_receipts.issue(claimed, tenant=who.tenant, claim=key_claim())
    return {"success": True, "receipt": receipt_shown(receipt, container().reading.keys())}


@operations.get(
    "/v1/receipts/<receipt_id>", "lucid_get_receipt", Answers(schemas.ReceiptResponseSchema, errors=(404, 500, 503))
)
def get_receipt(receipt_id: str) -> dict[str, Any]:
    """Get a receipt"""
    reading = container().reading
    receipt = reading.receipt(receipt_id)
    return {"success": True, "receipt": receipt_shown(receipt, reading.keys())}


@operations.get(
    "/v1/receipts/<receipt_id>/verify",
    "lucid_verify_receipt",
    Answers(schemas.ReceiptVerificationSchema, errors=(404, 500, 503)),
)
def verify_receipt(receipt_id: str) -> dict[str, Any]:
    """Verify a receipt: hash, signature by a published key, inclusion in the newest checkpoint"""
    reading = container().reading
    receipt = reading.receipt(receipt_id)
    return verification_shown(receipt, reading.verification(receipt), _proof(receipt))


@operations.get(
    "/v1/receipts/<receipt_id>/proof",
    "lucid_get_receipt_proof",
    Answers(schemas.ReceiptProofResponseSchema, errors=(404, 500, 503)),
)
def get_proof(receipt_id: str) -> dict[str, Any]:
    """Get a receipt's inclusion proof

    404 until the receipt is integrated into the log, which takes about a second.
    """
    return {"success": True, "proof": proof_shown(container().reading.proof(receipt_id))}


@operations.get("/v1/receipts/<receipt_id>/bundle", "lucid_get_receipt_bundle", Answers(None, errors=(404, 500, 503)))
def get_bundle(receipt_id: str) -> Response:
    """Get all that `lucid verify` needs offline, in one file"""
    bundle = container().reading.bundle(receipt_id)
    disposition = 'attachment; filename="bundle.json"'
    return Response(bundle, mimetype="application/json", headers={"Content-Disposition": disposition})


@operations.get(
    "/v1/verify/<receipt_hash>",
    "lucid_verify_receipt_by_hash",
    Answers(schemas.ReceiptHashVerificationSchema, errors=(400, 404, 500, 503)),
    parameters=[_HASH_PARAMETER],
)
def verify_by_hash(receipt_hash: str) -> dict[str, Any]:
    """Verify a receipt by its hash"""
    if not _HASH.fullmatch(receipt_hash):
        raise InvalidInput("a receipt hash is 64 hex digits", field="receipt_hash")
    reading = container().reading
    receipt = reading.by_hash(bytes.fromhex(receipt_hash))
    return hash_verification_shown(receipt, reading.verification(receipt), _proof(receipt), reading.keys())


@operations.get(
    "/v1/signer/pubkey", "lucid_get_signer_pubkey", Answers(schemas.SignerResponseSchema, errors=(500, 503))
)
def get_signer() -> dict[str, Any]:
    """Get the key that signs receipts, and every key that ever did"""
    signer = SigningKey.from_seed(container().settings.receipt_signing_key)
    published = container().reading.keys()
    keys = [
        present(
            {
                "kid": key.kid,
                "pubkey": key.public_key.hex(),
                "valid_from_index": key.valid_from_index,
                "valid_to_index": key.valid_to_index,
            }
        )
        for key in published
    ]
    return {
        "success": True,
        "signer_type": SIGNER_TYPE,
        "pubkey": signer.public_bytes.hex(),
        "kid": signer.kid,
        "keys": keys,
        "trust_url": "/v1/trust",
    }


@operations.get("/v1/trust", "lucid_get_trust", Answers(None, errors=(500, 503)))
def get_trust() -> dict[str, Any]:
    """Get what a stranger pins before verifying offline

    Origin, log, signer and witness keys, as `lucid verify --trust` reads them. Fetch it once, compare it over another channel, keep it.
    """
    return container().reading.trust()


def _proof(receipt: Receipt) -> Proof | None:
    try:
        return container().reading.proof(receipt.receipt_id)
    except NotFound:
        return None
