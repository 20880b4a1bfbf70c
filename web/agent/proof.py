"""The headers that prove whose payment it was, as `REQUIRE_CLAIM_PROOF` demands."""

from __future__ import annotations

from flask import request

from shared.agent.claims import Proof

CLAIM_TOKEN = "X-Claim-Token"  # noqa: S105 - the header's name
PAYMENT_PREIMAGE = "X-Payment-Preimage"


def offered_proof() -> Proof:
    """Return what the caller of this request offers; whether it is any good is for the service to say."""
    headers = request.headers
    return Proof(headers.get(CLAIM_TOKEN, "").strip(), headers.get(PAYMENT_PREIMAGE, "").strip())
