"""The log's one writer, and the boundaries it draws: integrate receipts, sign checkpoints, close epochs."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from shared.db.service import Database, Tx
from shared.kernel.derive import derive
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids
from shared.kernel.signing import SigningKey
from shared.merkle.checkpoint import Checkpoint, MlDsaKey, log_key, mldsa_available, mldsa_key, sign_checkpoint
from shared.merkle.hashing import EMPTY_ROOT, leaf_hash
from shared.merkle.tree import NodeReader, append, root_at, root_of
from shared.receipts import store
from shared.receipts.model import Epoch, EpochView, LogHead
from shared.work.model import StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

BATCH = 1000
_TRIES = 20
ANCHOR = "anchor"
SUBMIT = "submit"


class LogSigner:
    """Signs this log's checkpoints: Ed25519, and ML-DSA-44 where the library has it."""

    def __init__(self, origin: str, seed: bytes) -> None:
        self.origin = origin
        self._key = SigningKey.from_seed(seed)
        self._mldsa = MlDsaKey(derive(seed, "log:mldsa44")) if mldsa_available() else None

    def head(self, size: int, root: bytes) -> LogHead:
        """Sign the log's state."""
        note = sign_checkpoint(Checkpoint(self.origin, size, root), key=self._key, mldsa=self._mldsa)
        return LogHead(size, root, note)

    def vkeys(self) -> list[str]:
        """Return the verifier keys, Ed25519 first."""
        keys = [log_key(self.origin, self._key.public_bytes)]
        if self._mldsa is not None:
            keys.append(mldsa_key(self.origin, self._mldsa.public_bytes))
        return [key.encode() for key in keys]


@dataclass(frozen=True)
class EpochRules:
    """When an epoch closes: at `max_receipts`, or when it is `max_age_s` seconds old and not empty."""

    max_receipts: int
    max_age_s: float
    targets: tuple[str, ...]


class Log:
    """Integrates receipts in batches under one lock, and closes epochs on the sizes it signed."""

    def __init__(self, database: Database, *, signer: LogSigner, rules: EpochRules, ids: Ids, work: Work) -> None:
        self._database = database
        self._signer = signer
        self._rules = rules
        self._ids = ids
        self._work = work

    def integrate(self, *, wait: bool = False) -> int:
        """Give every waiting receipt its leaf, batch by batch; return how many. Another sequencer at work: 0.

        With `wait` it is waited for, so that whatever was issued before this call is in the log after it.
        """
        total = 0
        while True:
            with self._database.transaction() as tx, failpoint("log.integrate"):
                done = self._integrate_batch(tx) if store.become_sequencer(tx, wait=wait) else 0
            total += done
            if done < BATCH:
                return total

    @property
    def has_targets(self) -> bool:
        """Whether anybody is configured to vouch for the log."""
        return bool(self._rules.targets)

    def open_epoch(self) -> EpochView:
        """Return the open epoch; the first one is opened here where nothing has begun yet."""
        with self._database.transaction() as tx:
            store.open_first_epoch(tx, self._ids.public("epoch"))
            view = store.open_epoch_now(tx)
        if view is None:
            raise IntegrityFault("no epoch of the log is open")
        return view

    def lock_open_epoch(self, tx: Tx) -> Epoch:
        """Return the open epoch with its row locked, so that nobody else closes it in the meantime."""
        store.open_first_epoch(tx, self._ids.public("epoch"))
        for _ in range(
            _TRIES
        ):  # who waited for the lock of one that was closed meanwhile does not see the next one yet
            found = store.lock_open_epoch(tx)
            if found is not None:
                return found[0]
        raise IntegrityFault("no epoch of the log is open")

    def close_epochs(self, tx: Tx, *, by_hand: bool = False) -> list[Epoch]:
        """Close what is due, however many schedulers run; `by_hand` closes a younger epoch too. Never an empty one."""
        store.open_first_epoch(tx, self._ids.public("epoch"))
        closed: list[Epoch] = []
        with failpoint("epoch.close"):
            while (end_size := self._due(tx, by_hand=by_hand)) is not None:
                closed.append(self._close(tx, end_size))
        return closed

    def head_at(self, tx: Tx, size: int) -> LogHead:
        """Return the signed checkpoint of a size; a boundary inside a batch is signed now."""
        head = store.checkpoint(tx, size)
        if head is None:
            head = self._signer.head(size, root_at(size, node_reader(tx)))
            store.insert_checkpoint(tx, head)
        return head

    def have_anchored(self, tx: Tx, head: LogHead) -> None:
        """Ask every target to vouch for this state of the log; one that was asked before is not asked again."""
        for target in self._rules.targets:
            anchor_id = store.intend_anchor(tx, target, head)
            if anchor_id is not None:
                self._work.start(tx, StepRef(ANCHOR, anchor_id, SUBMIT))

    def have_anchored_again(self, tx: Tx, size: int) -> list[int]:
        """Ask again every target that has failed for this size; return their anchors. Nothing where none has."""
        anchor_ids = store.rearm_anchors(tx, size)
        for anchor_id in anchor_ids:
            self._work.restart(tx, StepRef(ANCHOR, anchor_id, SUBMIT))
        return anchor_ids

    def _integrate_batch(self, tx: Tx) -> int:
        size, peaks = store.lock_log(tx)
        if store.newest_checkpoint(tx) is None:
            store.insert_checkpoint(tx, self._signer.head(0, EMPTY_ROOT))
        waiting = store.pending(tx, batch=BATCH)
        if not waiting:
            return 0
        grown = append(size, peaks, (leaf_hash(receipt_hash) for _, receipt_hash in waiting))
        store.integrate(tx, ids=[row_id for row_id, _ in waiting], first_leaf=size)
        store.insert_nodes(tx, grown.nodes)
        store.grow_log(tx, size=grown.size, peaks=grown.peaks)
        store.insert_checkpoint(tx, self._signer.head(grown.size, root_of(grown.peaks)))
        log.info("log_integrated", size=grown.size, batch=len(waiting))
        return len(waiting)

    def _due(self, tx: Tx, *, by_hand: bool) -> int | None:
        """Return where the open epoch ends, if it ends now. Takes the epoch's row lock."""
        found = store.lock_open_epoch(tx)
        if found is None:
            return None
        epoch, age_s = found
        size = store.log_size(tx)
        if size >= epoch.start_size + self._rules.max_receipts:
            return epoch.start_size + self._rules.max_receipts
        if size > epoch.start_size and (by_hand or age_s >= self._rules.max_age_s):
            return size
        return None

    def _close(self, tx: Tx, end_size: int) -> Epoch:
        found = store.lock_open_epoch(tx)
        if found is None:
            raise IntegrityFault("the open epoch vanished under its lock")
        epoch = found[0]
        head = self.head_at(tx, end_size)
        store.close_epoch(tx, epoch.number, end_size=end_size, root=head.root)
        store.open_epoch(tx, number=epoch.number + 1, epoch_id=self._ids.public("epoch"), start_size=end_size)
        self.have_anchored(tx, head)
        log.info("epoch_closed", number=epoch.number, size=end_size)
        return epoch


def node_reader(tx: Tx) -> NodeReader:
    """Return what fetches a proof's nodes in one query."""
    return lambda positions: store.nodes(tx, positions)
