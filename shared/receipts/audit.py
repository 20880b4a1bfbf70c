"""Rebuild the log from the receipts and compare it with what is stored and signed. Reads everything, changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.db.model import Queries
from shared.db.service import Database, Row, Tx
from shared.kernel import signing
from shared.kernel.errors import IntegrityFault, InvalidInput
from shared.merkle.checkpoint import SignedCheckpoint, verify_line
from shared.merkle.hashing import EMPTY_ROOT, leaf_hash
from shared.merkle.notes import VerifierKey
from shared.merkle.positions import node_count
from shared.merkle.tree import append, root_of
from shared.receipts import store
from shared.receipts.log import LogSigner

SQL = Queries.beside(__file__)
PAGE = 1000


@dataclass(frozen=True)
class LogAudit:
    """What was compared, and each way in which it differs, in words for people."""

    size: int
    checkpoints: int
    faults: list[str]


def audit_log(
    database: Database, signer: LogSigner, *, on_progress: Callable[[int, int], None] = lambda _done, _size: None
) -> LogAudit:
    """Check receipts, nodes, peaks, epoch roots and checkpoint signatures up to the log's present size.

    `on_progress` gets the leaves compared and the size, page by page. The log may go on growing meanwhile.
    """
    with database.transaction() as tx:
        state = tx.all(SQL["audited_state"])[0]
        keys = {key.kid: key.public_key for key in store.keys(tx)}
        rebuilt = _Rebuilt(signer.origin, [VerifierKey.parse(vkey) for vkey in signer.vkeys()], keys)
        rebuilt.compare_checkpoints(tx, above=-1, up_to=0)
    size: int = state["size"]
    if state["last_position"] >= node_count(size):
        rebuilt.faults.append(f"there are nodes beyond the log's size of {size}")
    while rebuilt.size < size and not rebuilt.has_gap:
        with database.transaction() as tx:
            rebuilt.take_page(tx, min(rebuilt.size + PAGE, size))
        on_progress(rebuilt.size, size)
    if not rebuilt.has_gap and tuple(bytes(peak) for peak in state["peaks"]) != rebuilt.peaks:
        rebuilt.faults.append(f"the peaks that are kept for size {size} are not those of its receipts")
    return LogAudit(size, rebuilt.checkpoints, rebuilt.faults)


@dataclass
class _Rebuilt:
    """The log as its receipts make it, as far as it was read."""

    origin: str
    log_keys: Sequence[VerifierKey]
    signer_keys: dict[str, bytes]
    size: int = 0
    peaks: tuple[bytes, ...] = ()
    checkpoints: int = 0
    has_gap: bool = False
    faults: list[str] = field(default_factory=list)

    def take_page(self, tx: Tx, end: int) -> None:
        """Read the leaves up to `end`, stopping at every size that somebody signed or closed an epoch at."""
        first = self.size
        leaves = tx.all(SQL["leaves_between"], {"first": first, "end": end})
        if [row["leaf_index"] for row in leaves] != list(range(first, end)):
            self.faults.append(f"receipts are missing between leaf {first} and leaf {end - 1}")
            self.has_gap = True
            return
        for row in leaves:
            self._check_receipt(row)
        span = {"above": first, "up_to": end}
        checkpoints = {row["size"]: row for row in tx.all(SQL["checkpoints_between"], span)}
        epochs = {row["end_size"]: row for row in tx.all(SQL["epochs_ending_between"], span)}
        nodes: list[tuple[int, bytes]] = []
        for stop in sorted({*checkpoints, *epochs, end}):
            grown = append(
                self.size,
                self.peaks,
                (leaf_hash(row["receipt_hash"]) for row in leaves[self.size - first : stop - first]),
            )
            self.size, self.peaks = grown.size, grown.peaks
            nodes += grown.nodes
            self._check_root(checkpoints.get(stop), epochs.get(stop))
        stored = tx.all(SQL["nodes_between"], {"first": node_count(first), "end": node_count(end)})
        self._check_nodes(nodes, {row["pos"]: row["hash"] for row in stored})

    def compare_checkpoints(self, tx: Tx, *, above: int, up_to: int) -> None:
        """Check the checkpoints of sizes in this range against the present root."""
        for row in tx.all(SQL["checkpoints_between"], {"above": above, "up_to": up_to}):
            self._check_root(row, None)

    def _check_receipt(self, row: Row) -> None:
        index = row["leaf_index"]
        if hashlib.sha256(row["body"]).digest() != row["receipt_hash"]:
            self.faults.append(f"the receipt at leaf {index} is not what its hash says")
        public = self.signer_keys.get(row["signer_kid"], b"")
        if not signing.verify(public, row["signature"], row["receipt_hash"]):
            self.faults.append(f"the receipt at leaf {index} is not signed by its key")

    def _check_root(self, checkpoint: Row | None, epoch: Row | None) -> None:
        root = root_of(self.peaks) if self.size else EMPTY_ROOT
        if epoch is not None and epoch["root"] != root:
            self.faults.append(f"epoch {epoch['number']} closed on another root than its receipts have")
        if checkpoint is None:
            return
        self.checkpoints += 1
        if checkpoint["root"] != root:
            self.faults.append(f"the checkpoint of size {checkpoint['size']} has another root than its receipts")
        fault = self._fault_of_note(checkpoint)
        if fault:
            self.faults.append(f"the checkpoint of size {checkpoint['size']} {fault}")

    def _fault_of_note(self, checkpoint: Row) -> str:
        try:
            signed = SignedCheckpoint.parse(checkpoint["note"])
            said = signed.checkpoint
            if said.origin != self.origin:
                return f"is of the log {said.origin}, and LOG_ORIGIN says {self.origin}"
            if (said.size, said.root) != (checkpoint["size"], checkpoint["root"]):
                return "is a note about another size or root"
            lines = [(line, key) for key in self.log_keys for line in signed.signatures if line.is_by(key)]
            if not any(key is self.log_keys[0] for _, key in lines):
                return "is not signed by this log's key (LOG_SIGNING_KEY)"
            for line, key in lines:
                verify_line(said, line, key)
        except (InvalidInput, IntegrityFault) as error:
            return f"does not verify: {error.message}"
        return ""

    def _check_nodes(self, rebuilt: Sequence[tuple[int, bytes]], stored: dict[int, bytes]) -> None:
        wrong = [position for position, value in rebuilt if stored.get(position) != value]
        if wrong:
            self.faults.append(
                f"{len(wrong)} stored nodes are missing or differ from the receipts, from position {wrong[0]} on"
            )
