"""An anchor's evidence, checked anew: a pinned key vouched for a checkpoint that holds just this epoch."""

from __future__ import annotations

from shared.bootstrap import Container
from shared.kernel.errors import IntegrityFault, InvalidInput
from shared.merkle.checkpoint import Checkpoint, SignedCheckpoint, verify_line
from shared.merkle.notes import VerifierKey
from shared.merkle.tree import consistency_proof
from shared.merkle.verify import verify_consistency
from shared.receipts.log import node_reader
from shared.receipts.model import Anchor, AnchorState, Epoch


def evidence_holds(container: Container, epoch: Epoch, anchor: Anchor) -> bool:
    """Tell whether the pinned witness cosigned this epoch's size and root, or a later checkpoint that extends it."""
    pinned = container.settings.witness_key
    if anchor.state is not AnchorState.FINAL or anchor.evidence is None or not pinned:
        return False
    try:
        key = VerifierKey.parse(pinned)
        signed = SignedCheckpoint.parse(anchor.evidence)
        line = next((line for line in signed.signatures if line.is_by(key)), None)
        if line is None:
            return False
        verify_line(signed.checkpoint, line, key)
        _require_extends(container, epoch, signed.checkpoint)
    except (InvalidInput, IntegrityFault):
        return False
    return True


def _require_extends(container: Container, epoch: Epoch, later: Checkpoint) -> None:
    """Raise `IntegrityFault` unless `later` is the epoch's own boundary, or the same log grown."""
    if epoch.end_size is None or epoch.root is None or later.size < epoch.end_size:
        raise IntegrityFault("the checkpoint ends before the epoch does")
    with container.database.transaction() as tx:
        path = consistency_proof(epoch.end_size, later.size, node_reader(tx))
    verify_consistency(
        old_size=epoch.end_size, old_root=epoch.root, new_size=later.size, new_root=later.root, proof=path
    )
