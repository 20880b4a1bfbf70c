"""Receipts, the log, epochs and anchors in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.owner import Owner
from shared.receipts.model import (
    Anchor,
    AnchorState,
    Epoch,
    EpochState,
    EpochStatus,
    EpochView,
    LogHead,
    Receipt,
    ReceiptKind,
    SignerKey,
)

SQL = Queries.beside(__file__)


# -- receipts


def register_key(tx: Tx, *, kid: str, public_key: bytes) -> None:
    """Publish a signer key from the log's present size on; nothing where it is known."""
    tx.run(SQL["register_key"], {"kid": kid, "public_key": public_key})


def keys(tx: Tx) -> list[SignerKey]:
    """Return every signer key there ever was."""
    rows = tx.all(SQL["keys"])
    return [SignerKey(row["kid"], row["public_key"], row["valid_from_index"], row["valid_to_index"]) for row in rows]


def next_seq(tx: Tx, tenant: str) -> int:
    """Return the tenant's next number; the tenant's row stays locked until the transaction ends."""
    return _count(tx.one(SQL["next_seq"], {"tenant": tenant}), "last_seq")


def insert_receipt(
    tx: Tx, receipt: Receipt, *, owner: Owner, tenant: str, tenant_seq: int, project: str | None
) -> None:
    """Insert a signed receipt; it waits for the sequencer."""
    tx.run(
        SQL["insert_receipt"],
        {
            "receipt_id": receipt.receipt_id,
            "owner_kind": owner.kind,
            "owner_id": owner.id,
            "kind": receipt.kind,
            "tenant": tenant,
            "tenant_seq": tenant_seq,
            "body": receipt.canonical,
            "receipt_hash": receipt.receipt_hash,
            "signature": receipt.signature,
            "signer_kid": receipt.signer_kid,
            "issued_at": receipt.issued_at,
            "project": project,
        },
    )


def insert_salts(tx: Tx, receipt_id: str, salts: Mapping[str, bytes]) -> None:
    """Keep the salts of a receipt's commitments, by field."""
    tx.run(SQL["insert_salts"], {"receipt_id": receipt_id, "fields": list(salts), "salts": [*salts.values()]})


def forget_salts(tx: Tx, kind: str, row_ids: Sequence[int]) -> int:
    """Delete the salts of the receipts of these owners."""
    return tx.run(SQL["forget_salts"], {"kind": kind, "ids": list(row_ids)})


def salts(tx: Tx, receipt_id: str) -> dict[str, bytes]:
    """Return the salts that were not deleted, by field."""
    return {row["field"]: row["salt"] for row in tx.all(SQL["salts"], {"receipt_id": receipt_id})}


def id_of(tx: Tx, owner: Owner) -> str | None:
    """Return the id of the owner's receipt."""
    row = tx.one(SQL["id_of"], {"owner_kind": owner.kind, "owner_id": owner.id})
    return None if row is None else str(row["receipt_id"])


def by_id(tx: Tx, receipt_id: str) -> Receipt | None:
    """Return the receipt with this id."""
    row = tx.one(SQL["by_id"], {"receipt_id": receipt_id})
    return None if row is None else _receipt(row)


def by_hash(tx: Tx, receipt_hash: bytes) -> Receipt | None:
    """Return the receipt with this hash."""
    row = tx.one(SQL["by_hash"], {"receipt_hash": receipt_hash})
    return None if row is None else _receipt(row)


def receipt_count(tx: Tx) -> int:
    """Return how many receipts were issued."""
    return _count(tx.one(SQL["receipt_count"]), "receipts")


# -- the log


def become_sequencer(tx: Tx, *, wait: bool) -> bool:
    """Take the sequencer's lock for this transaction; False where another process sequences right now, unless told to wait."""
    if wait:
        tx.run(SQL["await_sequencer"])
        return True
    row = tx.one(SQL["become_sequencer"])
    return bool(row and row["mine"])


def lock_log(tx: Tx) -> tuple[int, list[bytes]]:
    """Return the log's size and peaks, locked."""
    row = tx.one(SQL["lock_log"])
    assert row is not None  # noqa: S101 - the migration inserts the row
    return int(row["size"]), [bytes(peak) for peak in row["peaks"]]


def log_size(tx: Tx) -> int:
    """Return how many leaves are integrated."""
    return _count(tx.one(SQL["log_size"]), "size")


def pending(tx: Tx, *, batch: int) -> list[tuple[int, bytes]]:
    """Return row id and hash of receipts that are not in the log, oldest first."""
    return [(row["id"], row["receipt_hash"]) for row in tx.all(SQL["pending"], {"batch": batch})]


def integrate(tx: Tx, *, ids: Sequence[int], first_leaf: int) -> None:
    """Give these receipts consecutive leaf indexes."""
    indexes = list(range(first_leaf, first_leaf + len(ids)))
    tx.run(SQL["integrate"], {"ids": list(ids), "leaf_indexes": indexes})


def insert_nodes(tx: Tx, nodes: Sequence[tuple[int, bytes]]) -> None:
    """Store new nodes of the tree."""
    tx.copy(SQL["copy_nodes"], nodes)


def nodes(tx: Tx, positions: Sequence[int]) -> Mapping[int, bytes]:
    """Return the hashes at these positions."""
    return {row["pos"]: row["hash"] for row in tx.all(SQL["nodes"], {"positions": list(positions)})}


def grow_log(tx: Tx, *, size: int, peaks: Sequence[bytes]) -> None:
    """Store the log's new size and peaks."""
    tx.run(SQL["grow_log"], {"size": size, "peaks": list(peaks)})


def hashes(tx: Tx, leaves: range) -> list[bytes]:
    """Return the receipt hashes of these leaves, in order."""
    return [row["receipt_hash"] for row in tx.all(SQL["hashes"], {"first": leaves.start, "end": leaves.stop})]


def insert_checkpoint(tx: Tx, head: LogHead) -> None:
    """Store a signed checkpoint; the first one of a size stays."""
    tx.run(SQL["insert_checkpoint"], {"size": head.size, "root": head.root, "note": head.note})


def newest_checkpoint(tx: Tx) -> LogHead | None:
    """Return the checkpoint of the greatest size."""
    row = tx.one(SQL["newest_checkpoint"])
    return None if row is None else LogHead(row["size"], row["root"], row["note"])


def checkpoint(tx: Tx, size: int) -> LogHead | None:
    """Return the checkpoint of just this size."""
    row = tx.one(SQL["checkpoint"], {"size": size})
    return None if row is None else LogHead(row["size"], row["root"], row["note"])


# -- epochs


def open_first_epoch(tx: Tx, epoch_id: str) -> None:
    """Open epoch 1 where there is none."""
    tx.run(SQL["open_first_epoch"], {"epoch_id": epoch_id})


def lock_open_epoch(tx: Tx) -> tuple[Epoch, float] | None:
    """Return the open epoch, locked, and its age in seconds."""
    row = tx.one(SQL["lock_open_epoch"])
    return None if row is None else (epoch_of(row), float(row["age_s"]))


def close_epoch(tx: Tx, number: int, *, end_size: int, root: bytes) -> bool:
    """Close by compare-and-set; False where it was closed before."""
    return tx.run(SQL["close_epoch"], {"number": number, "end_size": end_size, "root": root}) == 1


def open_epoch(tx: Tx, *, number: int, epoch_id: str, start_size: int) -> None:
    """Open the next epoch."""
    tx.run(SQL["open_epoch"], {"number": number, "epoch_id": epoch_id, "start_size": start_size})


def epochs(tx: Tx, *, status: EpochStatus | None, limit: int, offset: int) -> list[EpochView]:
    """Return epochs with their anchors, newest first."""
    return views(tx, tx.all(SQL["epochs"], {"status": status, "limit": limit, "offset": offset}))


def epoch_count(tx: Tx, *, status: EpochStatus | None) -> int:
    """Return how many epochs there are, of this status or in all."""
    return _count(tx.one(SQL["epoch_count"], {"status": status}), "total")


def epoch_by_id(tx: Tx, epoch_id: str) -> EpochView | None:
    """Return one epoch."""
    return _maybe_view(tx, tx.one(SQL["epoch_by_id"], {"epoch_id": epoch_id}))


def epoch_of_leaf(tx: Tx, leaf_index: int) -> EpochView | None:
    """Return the epoch that holds this leaf."""
    return _maybe_view(tx, tx.one(SQL["epoch_of_leaf"], {"leaf_index": leaf_index}))


def epoch_by_number(tx: Tx, number: int) -> EpochView | None:
    """Return one epoch."""
    return _maybe_view(tx, tx.one(SQL["epoch_by_number"], {"number": number}))


def open_epoch_now(tx: Tx) -> EpochView | None:
    """Return the open epoch."""
    return _maybe_view(tx, tx.one(SQL["open_epoch_now"]))


def epochs_by_status(tx: Tx) -> dict[EpochStatus, int]:
    """Return how many epochs have each status."""
    return {EpochStatus(row["status"]): int(row["epochs"]) for row in tx.all(SQL["epochs_by_status"])}


# -- claims


def insert_claim(tx: Tx, *, tenant: str, run_id: str, content_hash: bytes) -> int | None:
    """Insert a claim and return its row id; None where the run's id was claimed before, by whomever."""
    row = tx.one(SQL["insert_claim"], {"tenant": tenant, "run_id": run_id, "content_hash": content_hash})
    return None if row is None else int(row["id"])


def claimed_before(tx: Tx, *, tenant: str, run_id: str, content_hash: bytes) -> bool:
    """Tell whether the tenant has claimed just this about the run."""
    parameters = {"tenant": tenant, "run_id": run_id, "content_hash": content_hash}
    return tx.one(SQL["claimed_before"], parameters) is not None


def is_run_of_ours(tx: Tx, run_id: str) -> bool:
    """Tell whether a run, or the receipt of any work, has this id."""
    return tx.one(SQL["is_run_of_ours"], {"run_id": run_id}) is not None


def claim_run_id(tx: Tx, claim_id: int) -> str | None:
    """Return the run's id that a claim is about."""
    row = tx.one(SQL["claim_run_id"], {"id": claim_id})
    return None if row is None else str(row["run_id"])


# -- anchors


def intend_anchor(tx: Tx, target: str, head: LogHead) -> int | None:
    """Insert an anchor for this checkpoint; None where the target has one for this size."""
    row = tx.one(SQL["intend_anchor"], {"target": target, "size": head.size, "request": head.note})
    return None if row is None else int(row["id"])


def anchor(tx: Tx, anchor_id: int) -> tuple[Anchor, str] | None:
    """Return one anchor and its request (the checkpoint, byte for byte as it was first meant to be sent)."""
    row = tx.one(SQL["anchor"], {"id": anchor_id})
    return None if row is None else (_anchor(row), row["request"])


def covering_anchor(tx: Tx, target: str, size: int) -> Anchor | None:
    """Return the smallest final anchor of at least this size."""
    row = tx.one(SQL["covering_anchor"], {"target": target, "size": size})
    return None if row is None else _anchor(row)


def last_final_size(tx: Tx, target: str) -> int:
    """Return the greatest size that the target vouches for."""
    return _count(tx.one(SQL["last_final_size"], {"target": target}), "size")


def anchor_is_final(tx: Tx, anchor_id: int, *, evidence: str, target_key: str) -> bool:
    """Store the target's evidence and the key it holds by, for earlier failed anchors too; False where the anchor had ended."""
    parameters = {"id": anchor_id, "evidence": evidence, "target_key": target_key}
    if tx.run(SQL["anchor_is_final"], parameters) != 1:
        return False
    tx.run(SQL["cover_smaller"], {"id": anchor_id})
    return True


def target_keys(tx: Tx, target: str) -> list[str]:
    """Return the verifier keys by which evidence of this target holds."""
    return [row["target_key"] for row in tx.all(SQL["target_keys"], {"target": target})]


def anchor_failed(tx: Tx, anchor_id: int, fault: str) -> None:
    """End an anchor without evidence."""
    tx.run(SQL["anchor_failed"], {"id": anchor_id, "fault": fault})


def rearm_anchors(tx: Tx, size: int) -> list[int]:
    """Have this size's failed anchors be intended again; return their ids."""
    return [int(row["id"]) for row in tx.all(SQL["rearm_anchors"], {"size": size})]


def anchor_tried(tx: Tx, anchor_id: int, fault: str) -> None:
    """Count a try that brought no answer."""
    tx.run(SQL["anchor_tried"], {"id": anchor_id, "fault": fault})


def anchors_of(tx: Tx, size: int) -> list[Anchor]:
    """Return every target's anchor of this size."""
    return [_anchor(row) for row in tx.all(SQL["anchors_of_sizes"], {"sizes": [size]})]


def anchored_size(tx: Tx) -> int:
    """Return the greatest size that any target vouches for."""
    return _count(tx.one(SQL["greatest_final_size"]), "size")


def last_anchor_at(tx: Tx) -> datetime | None:
    """Return when a target last vouched for the log."""
    row = tx.one(SQL["last_anchor_at"])
    return None if row is None else row["ended_at"]


def _count(row: Row | None, column: str) -> int:
    return 0 if row is None else int(row[column])


def _receipt(row: Row) -> Receipt:
    return Receipt(
        receipt_id=row["receipt_id"],
        kind=ReceiptKind(row["kind"]),
        body=json.loads(row["body"]),
        canonical=row["body"],
        receipt_hash=row["receipt_hash"],
        signature=row["signature"],
        signer_kid=row["signer_kid"],
        issued_at=row["issued_at"],
        leaf_index=row["leaf_index"],
    )


def _maybe_view(tx: Tx, row: Row | None) -> EpochView | None:
    return None if row is None else views(tx, [row])[0]


def views(tx: Tx, rows: Sequence[Row]) -> list[EpochView]:
    """Join each epoch with the anchors of its own size."""
    sizes = [row["end_size"] for row in rows if row["end_size"] is not None]
    found = [_anchor(row) for row in tx.all(SQL["anchors_of_sizes"], {"sizes": sizes})]
    return [
        EpochView(
            epoch_of(row), EpochStatus(row["status"]), [anchor for anchor in found if anchor.size == row["end_size"]]
        )
        for row in rows
    ]


def epoch_of(row: Row) -> Epoch:
    """Return the epoch of a row of either view."""
    return Epoch(
        number=row["number"],
        epoch_id=row["epoch_id"],
        state=EpochState(row["state"]),
        start_size=row["start_size"],
        end_size=row["end_size"],
        root=row["root"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        project=row.get("project"),
        receipts=row.get("leaf_count"),
    )


def _anchor(row: Row) -> Anchor:
    return Anchor(
        id=row["id"],
        target=row["target"],
        size=row["size"],
        state=AnchorState(row["state"]),
        evidence=row["evidence"],
        target_key=row["target_key"],
        fault=row["fault"],
        tries=row["tries"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        retries=row["retries"],
    )
