"""A split as a record that anybody can check: canonical JSON, its hash, and the shares worked out anew. No I/O."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from shared.kernel.canonical_json import canonical_bytes
from shared.kernel.errors import InvalidInput
from shared.splits.model import Role, Share, Split, SplitConfig, SplitVerification, Terms, Wallets
from shared.splits.shares import share_out


def record_of(terms: Terms, shares: list[Share], *, timestamp: int) -> Split:
    """Return the record of a split made at `timestamp` (Unix seconds). Raises `NotCanonical`."""
    record = canonical_bytes(
        {
            "run_id": terms.run_id,
            "total_amount_lamports": str(terms.total_lamports),
            "recipients": [_recipient(share) for share in shares],
            "split_config": {f"{role}_bp": terms.config.of(role) for role in Role},
            "timestamp": timestamp,
            "created_at": timestamp,
        }
    )
    return Split(terms.run_id, record, hashlib.sha256(record).digest())


def asked_hash(terms: Terms) -> bytes:
    """Return what tells one request from another: what the caller said, not what the treasury was at the time."""
    wallets = {
        "compute": terms.wallets.compute,
        "model": terms.wallets.model,
        "orchestrator": terms.wallets.orchestrator,
    }
    said = {
        "total": str(terms.total_lamports),
        "wallets": {name: wallet for name, wallet in wallets.items() if wallet is not None},
        "config": {role: terms.config.of(role) for role in Role},
    }
    return hashlib.sha256(canonical_bytes(said)).digest()


def verify(split: Split) -> SplitVerification:
    """Work everything out anew from the stored bytes."""
    hash_valid = hashlib.sha256(split.record).digest() == split.payout_hash
    try:
        record = json.loads(split.record)
        recipients = record["recipients"]
        total = int(record["total_amount_lamports"])
        shared_out = sum(int(recipient["amount_lamports"]) for recipient in recipients)
        recipients_valid = _are_valid(recipients, total, SplitConfig(**record["split_config"]))
    except (KeyError, TypeError, ValueError):  # no record of ours reads like that
        return SplitVerification(total_matches=False, recipients_valid=False, hash_valid=hash_valid)
    return SplitVerification(shared_out == total, recipients_valid, hash_valid)


def _are_valid(recipients: list[dict[str, Any]], total: int, config: SplitConfig) -> bool:
    """Tell whether just these roles get just these parts, each at some wallet."""
    given = {str(recipient["role"]): recipient for recipient in recipients}
    anywhere = Wallets("-", "-", "-")
    try:
        shares = share_out(total, config, anywhere, treasury="-")
    except InvalidInput:
        return False
    if len(given) != len(recipients) or set(given) != {str(share.role) for share in shares}:
        return False
    return all(
        given[share.role]["wallet"]
        and given[share.role]["bp"] == share.bp
        and given[share.role]["amount_lamports"] == str(share.lamports)
        for share in shares
    )


def _recipient(share: Share) -> dict[str, Any]:
    """Two fields stand twice: the contract's names, and those that clients of the original read."""
    return {
        "role": str(share.role),
        "wallet": share.wallet,
        "wallet_address": share.wallet,
        "bp": share.bp,
        "amount_bp": share.bp,
        "amount_lamports": str(share.lamports),
    }
