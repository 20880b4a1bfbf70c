"""What anyone may read: receipts by unguessable id or hash, proofs, checkpoints, tiles, epochs, keys."""

from __future__ import annotations

import hashlib

from shared.db.service import Database, Tx
from shared.kernel import signing
from shared.kernel.errors import IntegrityFault, InvalidInput, LucidError, NotFound
from shared.kernel.ids import is_public
from shared.merkle.checkpoint import Checkpoint, SignedCheckpoint, verify_line
from shared.merkle.hashing import leaf_hash
from shared.merkle.notes import VerifierKey
from shared.merkle.tiles import Tile, encode_entries, tile_positions
from shared.merkle.tree import consistency_proof, inclusion_proof
from shared.merkle.verify import verify_consistency, verify_inclusion
from shared.receipts import store
from shared.receipts.log import LogSigner, node_reader
from shared.receipts.model import (
    RUN_ID,
    WITNESS,
    Anchor,
    AnchorState,
    Epoch,
    EpochStats,
    EpochStatus,
    EpochView,
    LogHead,
    Proof,
    Receipt,
    SignerKey,
    Verification,
)
from shared.receipts.verify import BUNDLE_VERSION, TRUST_VERSION, render_bundle

EPOCH = "epoch"


class Reading:
    """The public reading room. `witness_key` is the pinned witness's verifier key, empty where there is none."""

    def __init__(self, database: Database, *, signer: LogSigner, witness_key: str) -> None:
        self._database = database
        self._signer = signer
        self._witness_key = witness_key

    # -- receipts

    def receipt(self, receipt_id: str) -> Receipt:
        """Return a receipt. Raises `NotFound`."""
        with self._database.transaction() as tx:
            return _receipt(tx, receipt_id)

    def receipt_of(self, tenant: str, receipt_id: str) -> Receipt:
        """Return a receipt of this tenant (its keyed hash). Raises `NotFound`, for everybody else's too."""
        receipt = self.receipt(receipt_id)
        if receipt.body.get("tenant") != tenant:
            raise NotFound("receipt not found")
        return receipt

    def by_hash(self, receipt_hash: bytes) -> Receipt:
        """Return the receipt with this hash. Raises `NotFound`."""
        with self._database.transaction() as tx:
            receipt = store.by_hash(tx, receipt_hash)
        if receipt is None:
            raise NotFound("receipt not found")
        return receipt

    def verification(self, receipt: Receipt) -> Verification:
        """Check a receipt anew: hash, signature by a published key, inclusion in the newest signed checkpoint."""
        with self._database.transaction() as tx:
            keys = {key.kid: key.public_key for key in store.keys(tx)}
            inclusion_valid, epoch = None, None
            if receipt.leaf_index is not None:
                inclusion_valid = self._is_included(tx, receipt)
                epoch = store.epoch_of_leaf(tx, receipt.leaf_index)
        public = keys.get(receipt.signer_kid, b"")
        return Verification(
            hash_valid=hashlib.sha256(receipt.canonical).digest() == receipt.receipt_hash,
            signature_valid=signing.verify(public, receipt.signature, receipt.receipt_hash),
            inclusion_valid=inclusion_valid,
            leaf_index=receipt.leaf_index,
            epoch=epoch,
        )

    def proof(self, receipt_id: str) -> Proof:
        """Return a receipt's audit path to the newest checkpoint. Raises `NotFound` until it is integrated."""
        with self._database.transaction() as tx:
            receipt = _receipt(tx, receipt_id)
            return _proof(tx, receipt, self._newest(tx))

    def bundle(self, receipt_id: str) -> bytes:
        """Return all that an offline verifier needs, in one file. Raises `NotFound` until the receipt is integrated.

        Against the smallest checkpoint with a cosignature that covers the receipt; against the newest one before that.
        """
        with self._database.transaction() as tx:
            receipt = _receipt(tx, receipt_id)
            head, witnesses = self._best_head(tx, receipt)
            proof = _proof(tx, receipt, head)
            keys = {key.kid: key.public_key for key in store.keys(tx)}
        return render_bundle(
            {
                "bundle_version": BUNDLE_VERSION,
                "receipt": {
                    "body": receipt.body,
                    "receipt_hash": receipt.receipt_hash.hex(),
                    "signature": receipt.signature.hex(),
                    "signer_kid": receipt.signer_kid,
                },
                "keys": {
                    "signer": keys[receipt.signer_kid].hex(),
                    "log": self._keys_that_signed(head),
                    "witnesses": witnesses,
                },
                "inclusion": {
                    "leaf_index": proof.leaf_index,
                    "tree_size": head.size,
                    "proof": [sibling.hex() for sibling in proof.path],
                    "root": head.root.hex(),
                },
                "checkpoint": head.note,
            }
        )

    # -- the log

    def head(self) -> LogHead:
        """Return the newest checkpoint. Raises `NotFound` before the sequencer has first run."""
        with self._database.transaction() as tx:
            return self._newest(tx)

    def tile(self, path: str) -> bytes:
        """Return a tile's bytes. Raises `InvalidInput` for a path that names none, `NotFound` for one that does not exist yet."""
        tile = Tile.parse(path)
        with self._database.transaction() as tx:
            if not tile.exists_at(self._newest(tx).size):
                raise NotFound("no such tile yet")
            if tile.level is None:
                return encode_entries(store.hashes(tx, tile.leaf_range()))
            positions = tile_positions(tile)
            found = store.nodes(tx, positions)
        return b"".join(found[position] for position in positions)

    def keys(self) -> list[SignerKey]:
        """Return every signer key there ever was, with its validity."""
        with self._database.transaction() as tx:
            return store.keys(tx)

    def trust(self) -> dict[str, object]:
        """Return what a stranger pins before verifying offline: the trust file of `lucid verify --trust`."""
        signer_keys = []
        for key in self.keys():
            entry: dict[str, object] = {
                "kid": key.kid,
                "public_key": key.public_key.hex(),
                "valid_from_index": key.valid_from_index,
            }
            if key.valid_to_index is not None:
                entry["valid_to_index"] = key.valid_to_index
            signer_keys.append(entry)
        with self._database.transaction() as tx:
            known = store.target_keys(tx, WITNESS)  # former witnesses too: what they signed still holds
        witnesses = known + [key for key in (self._witness_key,) if key and key not in known]
        return {
            "trust_version": TRUST_VERSION,
            "origin": self._signer.origin,
            "log_keys": self._signer.vkeys(),
            "signer_keys": signer_keys,
            "witness_keys": witnesses,
            "witness_quorum": min(1, len(witnesses)),
        }

    # -- epochs

    def epochs(self, *, status: EpochStatus | None, page: int, per_page: int) -> tuple[list[EpochView], int]:
        """Return one page of epochs, newest first, and how many there are in all."""
        with self._database.transaction() as tx:
            views = store.epochs(tx, status=status, limit=per_page, offset=(page - 1) * per_page)
            return views, store.epoch_count(tx, status=status)

    def epoch(self, epoch_id: str) -> EpochView:
        """Return one epoch. Raises `NotFound`."""
        with self._database.transaction() as tx:
            view = store.epoch_by_id(tx, epoch_id) if is_public(epoch_id, EPOCH) else None
        if view is None:
            raise NotFound("epoch not found")
        return view

    def current_epoch(self) -> EpochView:
        """Return the open epoch. Raises `NotFound` before the first one is opened; reading opens none."""
        with self._database.transaction() as tx:
            view = store.open_epoch_now(tx)
        if view is None:
            raise NotFound("no epoch is open")
        return view

    def evidence_holds(self, epoch: Epoch, anchor: Anchor) -> bool:
        """Check an anchor's evidence anew: its witness cosigned this epoch's size and root, or a later one that extends it."""
        if anchor.state is not AnchorState.FINAL or anchor.evidence is None or anchor.target_key is None:
            return False
        try:
            key = VerifierKey.parse(anchor.target_key)
            signed = SignedCheckpoint.parse(anchor.evidence)
            line = next((line for line in signed.signatures if line.is_by(key)), None)
            if line is None:
                return False
            verify_line(signed.checkpoint, line, key)
            self._require_extends(epoch, signed.checkpoint)
        except (InvalidInput, IntegrityFault):
            return False
        return True

    def stats(self) -> EpochStats:
        """Return the log's epochs in numbers."""
        with self._database.transaction() as tx:
            counted = store.epochs_by_status(tx)
            by_status = {str(status): counted.get(status, 0) for status in EpochStatus}
            return EpochStats(
                total_epochs=sum(counted.values()),
                total_receipts=store.receipt_count(tx),
                by_status=by_status,
                last_anchor_at=store.last_anchor_at(tx),
                anchored_receipts=store.anchored_size(tx),
            )

    # -- within a transaction

    def _newest(self, tx: Tx) -> LogHead:
        head = store.newest_checkpoint(tx)
        if head is None:
            raise NotFound("the log has no checkpoint yet")
        return head

    def _best_head(self, tx: Tx, receipt: Receipt) -> tuple[LogHead, list[str]]:
        if receipt.leaf_index is None:
            raise NotFound("the receipt is not integrated yet")
        anchor = store.covering_anchor(tx, WITNESS, receipt.leaf_index + 1)
        if anchor is None or anchor.evidence is None or anchor.target_key is None:
            return self._newest(tx), []
        signed = SignedCheckpoint.parse(anchor.evidence)
        return LogHead(signed.checkpoint.size, signed.checkpoint.root, anchor.evidence), [anchor.target_key]

    def _keys_that_signed(self, head: LogHead) -> list[str]:
        lines = SignedCheckpoint.parse(head.note).signatures
        return [vkey for vkey in self._signer.vkeys() if any(line.is_by(VerifierKey.parse(vkey)) for line in lines)]

    def _require_extends(self, epoch: Epoch, later: Checkpoint) -> None:
        """Raise `IntegrityFault` unless `later` is the epoch's own boundary, or the same log grown."""
        if epoch.end_size is None or epoch.root is None or later.size < epoch.end_size:
            raise IntegrityFault("the checkpoint ends before the epoch does")
        with self._database.transaction() as tx:
            path = consistency_proof(epoch.end_size, later.size, node_reader(tx))
        verify_consistency(
            old_size=epoch.end_size, old_root=epoch.root, new_size=later.size, new_root=later.root, proof=path
        )

    def _is_included(self, tx: Tx, receipt: Receipt) -> bool:
        try:
            proof = _proof(tx, receipt, self._newest(tx))
            verify_inclusion(
                leaf=leaf_hash(receipt.receipt_hash),
                index=proof.leaf_index,
                size=proof.head.size,
                proof=proof.path,
                root=proof.head.root,
            )
        except LucidError:
            return False
        return True


def _receipt(tx: Tx, receipt_id: str) -> Receipt:
    receipt = store.by_id(tx, receipt_id) if RUN_ID.fullmatch(receipt_id) else None
    if receipt is None:
        raise NotFound("receipt not found")
    return receipt


def _proof(tx: Tx, receipt: Receipt, head: LogHead) -> Proof:
    if receipt.leaf_index is None or receipt.leaf_index >= head.size:
        raise NotFound("the receipt is not integrated yet")
    path = inclusion_proof(receipt.leaf_index, head.size, node_reader(tx))
    return Proof(receipt, receipt.leaf_index, path, _directions(receipt.leaf_index, head.size), head)


def _directions(index: int, size: int) -> list[str]:
    """Return on which side each sibling of the audit path stands, bottom up (RFC 9162 §2.1.3.2's walk)."""
    directions = []
    position, last = index, size - 1
    while last > 0:
        if position % 2 == 1 or position == last:
            if position % 2 == 0:  # the right edge rises until it has a left sibling
                while position % 2 == 0 and position != 0:
                    position, last = position >> 1, last >> 1
                if position == 0:
                    break
            directions.append("L")
        else:
            directions.append("R")
        position, last = position >> 1, last >> 1
    return directions
