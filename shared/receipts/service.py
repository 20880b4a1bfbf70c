"""Issue receipts: numbered per tenant, canonical, signed, in the transaction that ends the work they are for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

from shared.db.service import Tx
from shared.kernel.canonical_json import canonical_bytes, jcs
from shared.kernel.clock import Clock
from shared.kernel.commitments import SALT_BYTES, commit
from shared.kernel.derive import derive
from shared.kernel.ids import Ids
from shared.kernel.owner import Owner
from shared.kernel.signing import SigningKey
from shared.receipts import store
from shared.receipts.model import Committed, Draft, Paid, Ran, Receipt, ReceiptKind
from shared.work.model import StepRef
from shared.work.service import Work

SCHEMA_VERSION = "1"
LOG = "log"
INTEGRATE = "integrate"
INTEGRATED_WITHIN_S = 0.2
NO_POLICY_HASH = hashlib.sha256(jcs({"policy_version": "1.0"})).hexdigest()


class Receipts:
    """The notary. `secret_key` hides tenants; `signer` is the receipt key, never the log's."""

    def __init__(self, *, signer: SigningKey, secret_key: bytes, ids: Ids, clock: Clock, work: Work) -> None:
        self._signer = signer
        self._secret_key = secret_key
        self._ids = ids
        self._clock = clock
        self._work = work
        self._key_is_published = threading.Event()

    def issue(self, tx: Tx, draft: Draft) -> str:
        """Number, sign and store a receipt, and ring the sequencer; return its id.

        One receipt per (owner, kind): a second one violates a constraint, which is a bug of the caller.
        """
        receipt_id = draft.receipt_id or self._ids.public("run")
        tenant = self.tenant(draft.tenant)
        tenant_seq = store.next_seq(tx, tenant)
        committed = {**self._committed_now(draft), **draft.committed}
        now = self._clock.now()
        body: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "receipt_id": receipt_id,
            "run_id": receipt_id,
            "kind": str(draft.kind),
            "tenant": tenant,
            "tenant_seq": tenant_seq,
            "issued_at": int(now.timestamp()),
            "assurance": "signed",
            "finish_reason": draft.finish_reason,
            "policy_hash": draft.policy_hash or NO_POLICY_HASH,
            "used_fallback": draft.used_fallback,
            "signer_kid": self._signer.kid,
            **{f"{name}_commitment": made.digest.hex() for name, made in committed.items()},
            **_what_ran(draft.ran),
            **_money(draft.paid),
            **draft.extra,
        }
        canonical = canonical_bytes(body)
        receipt_hash = hashlib.sha256(canonical).digest()
        receipt = Receipt(
            receipt_id=receipt_id,
            kind=draft.kind,
            body=body,
            canonical=canonical,
            receipt_hash=receipt_hash,
            signature=self._signer.sign(receipt_hash),
            signer_kid=self._signer.kid,
            issued_at=now,
            leaf_index=None,
        )
        self._publish_key(tx)
        store.insert_receipt(
            tx, receipt, owner=draft.owner, tenant=tenant, tenant_seq=tenant_seq, project=draft.project
        )
        store.insert_salts(tx, receipt_id, {name: made.salt for name, made in committed.items()})
        self._ring(tx, draft.kind)
        return receipt_id

    def commit_to(self, exact_bytes: bytes) -> Committed:
        """Commit to bytes that are at hand now and need not be when the receipt is issued."""
        salt = self._ids.random(SALT_BYTES)
        return Committed(salt, commit(salt, exact_bytes))

    def tenant(self, name: str) -> str:
        """Return the keyed hash by which receipts know this tenant."""
        return derive(self._secret_key, "tenant", name.encode()).hex()

    def forget(self, tx: Tx, kind: str, row_ids: Sequence[int]) -> None:
        """Delete what opens the commitments of these owners' receipts. The receipts stay, and so does what they prove."""
        store.forget_salts(tx, kind, row_ids)

    def salts(self, tx: Tx, receipt_id: str) -> dict[str, bytes]:
        """Return what opens a receipt's commitments, by field, as far as it was not deleted. For its owner alone."""
        return store.salts(tx, receipt_id)

    def id_of(self, tx: Tx, owner: Owner) -> str | None:
        """Return the id of the owner's receipt."""
        return store.id_of(tx, owner)

    def _ring(self, tx: Tx, kind: ReceiptKind) -> None:
        """Ring the sequencer: for runs, of which there may be hundreds a second, once for many."""
        if kind is ReceiptKind.INFERENCE:
            self._work.ring_soon(tx, StepRef(LOG, 0, INTEGRATE), within_s=INTEGRATED_WITHIN_S)
        else:
            self._work.ring(tx, StepRef(LOG, 0, INTEGRATE))

    def _committed_now(self, draft: Draft) -> dict[str, Committed]:
        contents = {"input": draft.input, "output": draft.output}
        return {name: self.commit_to(content) for name, content in contents.items() if content is not None}

    def _publish_key(self, tx: Tx) -> None:
        """Publish the signer's key with this process's first receipt; keys are never deleted."""
        if self._key_is_published.is_set():
            return
        store.register_key(tx, kid=self._signer.kid, public_key=self._signer.public_bytes)
        tx.after_commit(self._key_is_published.set)


def passport_of(kind: str, *names: str) -> str:
    """Return the deterministic passport id of a configured upstream (`compute`) or of its model (`model`)."""
    digest = hashlib.sha256("\x00".join(("lucid", kind, *names)).encode()).hexdigest()
    return f"passport_{digest[:32]}"


def _what_ran(ran: Ran | None) -> dict[str, Any]:
    if ran is None:
        return {"tokens_in": 0, "tokens_out": 0}
    return {
        "model_passport_id": ran.model_passport_id or passport_of("model", ran.upstream, ran.model_requested),
        "compute_passport_id": ran.compute_passport_id or passport_of("compute", ran.upstream),
        "runtime": ran.runtime,
        "model_requested": _ascii(ran.model_requested),
        "model_answered": _ascii(ran.model_answered),
        "tokens_in": ran.tokens_in,
        "tokens_out": ran.tokens_out,
        "ttft_ms": ran.ttft_ms,
        "total_latency_ms": ran.total_latency_ms,
    }


def _money(paid: Paid | None) -> dict[str, Any]:
    if paid is None:
        return {}
    optional = {
        "payment_hash": paid.payment_hash.hex() if paid.payment_hash else None,
        "btc_price_usd": None if paid.btc_price_usd is None else format(paid.btc_price_usd, "f"),
        "charge_usd": None if paid.charge_usd is None else format(paid.charge_usd, "f"),
    }
    return {
        "currency": "BTC",
        "received_msat": paid.received_msat,
        "charged_msat": paid.charged_msat,
        "owed_back_msat": paid.owed_back_msat,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _ascii(name: str) -> str:
    """A model's name as the upstream states it, bounded: it comes from outside and goes into signed bytes."""
    return name[:200].encode("ascii", "replace").decode()
