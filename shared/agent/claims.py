"""Proof that a caller is the one who paid, for operators who want more than an id (`REQUIRE_CLAIM_PROOF`).

Two proofs are good: the claim token, which the creation's answer holds and nothing stores, and the preimage of any settled
invoice, which only the payer learns.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from shared.db.service import Tx
from shared.kernel.derive import derive
from shared.kernel.owner import Owner
from shared.lightning.model import InvoiceState
from shared.lightning.service import Invoices


@dataclass(frozen=True)
class Proof:
    """What a caller offers, as he wrote it: both in hex, either may be empty."""

    claim_token: str = field(default="", repr=False)
    preimage: str = field(default="", repr=False)


NO_PROOF = Proof()


class Claims:
    """Makes claim tokens and judges proofs. `are_required`: whether a bare id is not enough."""

    def __init__(self, *, invoices: Invoices, secret_key: bytes, are_required: bool) -> None:
        self._invoices = invoices
        self._secret_key = secret_key
        self.are_required = are_required

    def token(self, public_id: str) -> str:
        """Return the claim token of a job or session: 64 hex digits, the same whenever it is asked for."""
        return derive(self._secret_key, "claim", public_id.encode()).hex()

    def accepts(self, tx: Tx, proof: Proof, *, owner: Owner, public_id: str) -> bool:
        """Tell whether the caller may act for this owner: always, where no proof is required."""
        if not self.are_required:
            return True
        is_token = hmac.compare_digest(proof.claim_token.encode(), self.token(public_id).encode())
        return is_token or self._paid(tx, proof.preimage, owner)

    def _paid(self, tx: Tx, preimage: str, owner: Owner) -> bool:
        try:
            secret = bytes.fromhex(preimage)
        except ValueError:
            return False
        invoice = self._invoices.by_hash(tx, hashlib.sha256(secret).digest()) if len(secret) == 32 else None
        return invoice is not None and invoice.owner == owner and invoice.state is InvoiceState.SETTLED
