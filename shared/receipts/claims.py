"""Receipts for what callers say of work that we did not see: signed as their word, owned by a claim and never by a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from shared.db.service import Database, Tx
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.canonical_json import canonical_bytes
from shared.kernel.errors import Conflict, IntegrityFault, InvalidInput
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids
from shared.kernel.owner import Owner
from shared.receipts import store
from shared.receipts.model import RUN_ID, Claimed, Draft, ExecutionMode, Receipt, ReceiptKind
from shared.receipts.service import Receipts

CLAIM = "claim"
ASSURANCE = "claimed"
FINISHED = "claimed"
MOST_BYTES = 64 * 1024
_OF_THE_RUNTIME = ("runtime_hash", "gpu_fingerprint")


class ClaimedReceipts:
    """Takes claims and has them signed."""

    def __init__(self, database: Database, *, receipts: Receipts, ids: Ids) -> None:
        self._database = database
        self._receipts = receipts
        self._ids = ids

    def issue(self, claimed: Claimed, *, tenant: str, claim: KeyClaim | None = None) -> Receipt:
        """Sign a claim; the same tenant's same claim about the same run gets the same receipt.

        Raises `InvalidInput` (malformed, or the execution mode demands other fields), `Conflict` where the run is one of ours,
        or was claimed about in other words or by somebody else.
        """
        require_whole(claimed.figures)
        if claimed.run_id is not None and not RUN_ID.fullmatch(claimed.run_id):
            raise InvalidInput("run_id: 10 to 128 letters, digits or ._:-", field="run_id")
        content_hash = _content_hash(claimed)
        with self._database.transaction() as tx, failpoint("receipt.claim"):
            return self._made_before(tx, claim) or self._issue(tx, claimed, tenant, content_hash, claim)

    def _made_before(self, tx: Tx, claim: KeyClaim | None) -> Receipt | None:
        """Return what an earlier call with the same key made."""
        if claim is None or claim.made is None or claim.made.kind != CLAIM:
            return None
        run_id = store.claim_run_id(tx, claim.made.id)
        return None if run_id is None else store.by_id(tx, run_id)

    def _issue(self, tx: Tx, claimed: Claimed, tenant: str, content_hash: bytes, claim: KeyClaim | None) -> Receipt:
        run_id = claimed.run_id or self._ids.public("run")
        known_as = self._receipts.tenant(tenant)
        claim_id = store.insert_claim(tx, tenant=known_as, run_id=run_id, content_hash=content_hash)
        if claim_id is None:
            if not store.claimed_before(tx, tenant=known_as, run_id=run_id, content_hash=content_hash):
                raise Conflict("another claim was made about this run", code="run_id_claimed")
            return _receipt(tx, run_id)
        if store.is_run_of_ours(tx, run_id):
            raise Conflict("this run has its own receipt: nothing is claimed about it", code="run_id_taken")
        self._receipts.issue(
            tx,
            Draft(
                kind=ReceiptKind.CLAIMED,
                owner=Owner(CLAIM, claim_id),
                tenant=tenant,
                finish_reason=FINISHED,
                receipt_id=run_id,
                project=claimed.project,
                extra={**claimed.figures, "assurance": ASSURANCE},
            ),
        )
        if claim is not None:
            idempotency.name(tx, claim, Owner(CLAIM, claim_id))
        return _receipt(tx, run_id)


def require_whole(figures: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` where the execution mode demands a field that is missing, or forbids one that is there.

    Source: the gates of the original's compute receipts, by their names.
    """
    if "execution_mode" not in figures:
        return
    try:
        mode = ExecutionMode(figures["execution_mode"])
    except ValueError:
        known = ", ".join(ExecutionMode)
        raise InvalidInput(f"execution_mode: one of {known}", field="execution_mode") from None
    for name in _OF_THE_RUNTIME:
        if mode is ExecutionMode.MANAGED_ENDPOINT and name in figures:
            code = f"managed_endpoint_has_{name}"
            raise InvalidInput(f"{name}: who uses a managed endpoint cannot know it", field=name, code=code)
        if mode is not ExecutionMode.MANAGED_ENDPOINT and name not in figures:
            raise InvalidInput(f"{name}: {mode} demands it", field=name, code=f"{mode}_missing_{name}")


def _content_hash(claimed: Claimed) -> bytes:
    """Return what tells one claim from another. Raises `NotCanonical`, `InvalidInput` where it is too long to be signed."""
    project = {"project": claimed.project} if claimed.project is not None else {}
    canonical = canonical_bytes({"figures": claimed.figures, **project})
    if len(canonical) > MOST_BYTES:
        raise InvalidInput(f"a claim has at most {MOST_BYTES} bytes in its canonical form")
    return hashlib.sha256(canonical).digest()


def _receipt(tx: Tx, run_id: str) -> Receipt:
    receipt = store.by_id(tx, run_id)
    if receipt is None:
        raise IntegrityFault("a claim has no receipt")
    return receipt
