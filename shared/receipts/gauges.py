"""What an operator watches of the proofs: receipts that wait for the log, the open epoch, anchors and how old the last is."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.receipts.model import AnchorState

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class AnchorGauge:
    """One target's anchors in one state. `oldest_s`: seconds since the oldest was intended; `ended_s`: since the latest ended."""

    target: str
    state: AnchorState
    anchors: int
    oldest_s: float
    ended_s: float | None


@dataclass(frozen=True)
class ProofGauges:
    """Ages in seconds. `epoch_age_s` is None while no epoch is open; `epoch_receipts` are those integrated into the open one."""

    log_size: int
    unintegrated: int
    waiting_s: float
    epoch_age_s: float | None
    epoch_receipts: int
    anchors: tuple[AnchorGauge, ...]
    uncovered_failures: int


def gauges(tx: Tx) -> ProofGauges:
    """Read the present figures. `uncovered_failures`: failed anchors whose size no later final anchor of the target covers."""
    row = tx.all(SQL["log_progress"])[0]
    return ProofGauges(
        log_size=row["size"],
        unintegrated=row["unintegrated"],
        waiting_s=row["waiting_s"] or 0.0,
        epoch_age_s=row["epoch_age_s"],
        epoch_receipts=0 if row["epoch_start"] is None else row["size"] - row["epoch_start"],
        anchors=tuple(
            AnchorGauge(row["target"], AnchorState(row["state"]), row["anchors"], row["oldest_s"], row["ended_s"])
            for row in tx.all(SQL["anchors_by_state"])
        ),
        uncovered_failures=tx.all(SQL["uncovered_failures"])[0]["anchors"],
    )
