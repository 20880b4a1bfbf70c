"""Have closed epochs vouched for by others. The request is stored before it is sent and sent again byte for byte."""

from __future__ import annotations

import structlog

from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.owner import Owner
from shared.merkle.checkpoint import SignedCheckpoint
from shared.merkle.tree import consistency_proof
from shared.receipts import store
from shared.receipts.anchors.witness import AnchorRefused, AnchorUnavailable, WitnessBehind, WitnessClient
from shared.receipts.log import ANCHOR, SUBMIT, node_reader
from shared.receipts.model import WITNESS, AnchorState
from shared.work.model import Claim, RetryLater, StepFailed, StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

_FIRST_RETRY_S = 2.0
_MOST_RETRY_S = 300.0
_PATIENCE_S = 86_400.0


class Anchoring:
    """Submits checkpoints to the configured witness. Who waits for an anchor waits on `Owner(ANCHOR, its row id)`."""

    def __init__(self, database: Database, *, witness: WitnessClient | None, work: Work, events: Events) -> None:
        self._database = database
        self._witness = witness
        self._work = work
        self._events = events

    def submit(self, anchor_id: int) -> None:
        """Get the evidence for one anchor. A newer anchor that is final covers it: anchoring a size anchors all before it."""

        def effect(claim: Claim) -> tuple[str, str] | None:
            found = self._load(anchor_id)
            if found is None:
                return None
            size, note, covered = found
            if covered is not None:
                return covered
            try:
                return self._cosigned(size, note)
            except (AnchorUnavailable, WitnessBehind) as error:
                raise self._be_patient(anchor_id, claim, error.message) from error
            except AnchorRefused as error:
                raise StepFailed(error.message) from error

        def finish(tx: Tx, found: tuple[str, str] | None) -> None:
            if found is not None:
                store.anchor_is_final(tx, anchor_id, evidence=found[0], target_key=found[1])
            self._events.announce(tx, Owner(ANCHOR, anchor_id))

        def give_up(tx: Tx, reason: str) -> None:
            store.anchor_failed(tx, anchor_id, reason)
            self._events.announce(tx, Owner(ANCHOR, anchor_id))

        self._work.perform(StepRef(ANCHOR, anchor_id, SUBMIT), effect=effect, finish=finish, give_up=give_up)

    def _load(self, anchor_id: int) -> tuple[int, str, tuple[str, str] | None] | None:
        with self._database.transaction() as tx:
            found = store.anchor(tx, anchor_id)
            if found is None or found[0].state is not AnchorState.INTENDED:
                return None
            covering = store.covering_anchor(tx, WITNESS, found[0].size)
        covered = None
        if covering is not None and covering.evidence is not None and covering.target_key is not None:
            covered = covering.evidence, covering.target_key
        return found[0].size, found[1], covered

    def _cosigned(self, size: int, note: str) -> tuple[str, str]:
        """Return the checkpoint with the witness's line, and its key; it says where it stands if that is elsewhere."""
        if self._witness is None:
            raise AnchorUnavailable("no witness is configured")
        with self._database.transaction() as tx:
            old_size = store.last_final_size(tx, WITNESS)
        if old_size > size:
            raise WitnessBehind(old_size)  # a later anchor became final meanwhile: it covers this one
        try:
            line = self._ask(old_size, size, note)
        except WitnessBehind as behind:
            if behind.size > size:
                raise  # it has cosigned a later size already; that anchor will cover this one
            line = self._ask(behind.size, size, note)
        return SignedCheckpoint.parse(note).with_line(line).render(), self._witness.key.encode()

    def _ask(self, old_size: int, size: int, note: str) -> str:
        if self._witness is None:
            raise IntegrityFault("no witness is configured")
        with self._database.transaction() as tx:
            proof = consistency_proof(old_size, size, node_reader(tx))
        with failpoint("witness.cosign"):
            return self._witness.cosign(old_size, proof, note)

    def _be_patient(self, anchor_id: int, claim: Claim, why: str) -> RetryLater | StepFailed:
        """A silent witness is waited for, a day long, ever more rarely; that is no attempt."""
        with self._database.transaction() as tx:
            store.anchor_tried(tx, anchor_id, why)
        if claim.age_s > _PATIENCE_S:
            return StepFailed(why)
        return RetryLater(why, delay_s=min(_MOST_RETRY_S, _FIRST_RETRY_S + claim.age_s / 4), counts=False)
