"""Payouts: how a run's price is shared out, calculated once and kept. Nothing is transferred here."""

from __future__ import annotations

import json
from typing import Any

from shared.access.model import Scope
from shared.splits.model import DEFAULT_SPLIT, Role, Split, SplitConfig, Terms, Wallets
from shared.splits.service import Priced
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations
from web.gateway import payout_schemas as schemas

operations = Operations("Payouts", __name__, description="How a run's price is shared out")

_KEY = caller(Scope.INFERENCE, anonymous=False)
WRONG_SHARES = "the record is not what its terms give"


@operations.post(
    "/v1/payouts/calculate",
    "lucid_calculate_payout",
    Answers(schemas.PayoutResponseSchema, errors=(400, 500, 503)),
    body=schemas.CalculatePayoutSchema,
    guard=_KEY,
)
def calculate_payout(body: dict[str, Any]) -> dict[str, Any]:
    """Share out an amount

    One payout a run: the same terms again get the same record, other terms 409. Each role gets the floor of its part, the protocol
    besides what the floors leave.
    """
    terms = Terms(body["run_id"], body["total_amount_lamports"], _wallets(body), _config(body))
    return _shown(container().splits.calculate(terms, tenant=principal().tenant))


@operations.post(
    "/v1/payouts/from-receipt",
    "lucid_payout_from_receipt",
    Answers(schemas.PayoutResponseSchema, errors=(400, 404, 500, 503)),
    body=schemas.PayoutFromReceiptSchema,
    guard=_KEY,
)
def payout_from_receipt(body: dict[str, Any]) -> dict[str, Any]:
    """Share out what the tokens of one of your receipts cost

    404 without such a receipt, 400 where it says other tokens. The total is rounded down.
    """
    priced = Priced(body["run_id"], body["tokens_in"], body["tokens_out"], body["price_per_1k_tokens_lamports"])
    split = container().splits.from_receipt(
        priced, wallets=_wallets(body), config=_config(body), tenant=principal().tenant
    )
    return _shown(split)


@operations.get(
    "/v1/payouts/<run_id>",
    "lucid_get_payout",
    Answers(schemas.PayoutResponseSchema, errors=(404, 500, 503)),
    guard=_KEY,
)
def get_payout(run_id: str) -> dict[str, Any]:
    """Get a run's payout"""
    return _shown(container().splits.get(run_id, tenant=principal().tenant))


@operations.get(
    "/v1/payouts/<run_id>/verify",
    "lucid_verify_payout",
    Answers(schemas.PayoutVerificationSchema, errors=(404, 500, 503)),
    guard=_KEY,
)
def verify_payout(run_id: str) -> dict[str, Any]:
    """Work a run's payout out anew and compare"""
    found = container().splits.verify(run_id, tenant=principal().tenant)
    shown = {
        "success": True,
        "valid": found.valid,
        "total_matches": found.total_matches,
        "recipients_valid": found.recipients_valid,
        "hash_valid": found.hash_valid,
    }
    return shown if found.valid else {**shown, "error": WRONG_SHARES}


def _wallets(body: dict[str, Any]) -> Wallets:
    return Wallets(body["compute_wallet"], body.get("model_wallet"), body.get("orchestrator_wallet"))


def _config(body: dict[str, Any]) -> SplitConfig:
    """Return the caller's config, its own whole; without one the default."""
    if "config" not in body:
        return DEFAULT_SPLIT
    return SplitConfig(**{f"{role}_bp": body["config"].get(f"{role}_bp", 0) for role in Role})


def _shown(split: Split) -> dict[str, Any]:
    return {"success": True, "payout": {**json.loads(split.record), "payout_hash": split.payout_hash.hex()}}
