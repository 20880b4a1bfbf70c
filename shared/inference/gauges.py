"""What an operator watches of runs: how many are under way, how long the oldest has been, and what should never be."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.inference.model import RUN_ENDED, RunState

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class RunGauges:
    """Runs under way by state, and the age of the oldest in each, in seconds."""

    runs: dict[RunState, int]
    oldest_s: dict[RunState, float]


def gauges(tx: Tx) -> RunGauges:
    """Read the present figures; states without rows read 0."""
    found = {RunState(row["state"]): row for row in tx.all(SQL["runs_by_state"])}
    under_way = [state for state in RunState if state not in RUN_ENDED]
    return RunGauges(
        runs={state: found[state]["runs"] if state in found else 0 for state in under_way},
        oldest_s={state: found[state]["oldest_s"] if state in found else 0.0 for state in under_way},
    )


@dataclass(frozen=True)
class RunFaults:
    """What must be none: runs that nobody will end, ended ones without usage or receipt, or whose sealed input is still there.

    `overdue_s`: how long ago the time of a run under way was up.
    """

    stranded: int
    without_usage: int
    without_receipt: int
    still_sealed: int
    overdue_s: float


def faults(tx: Tx) -> RunFaults:
    """Count them. Reads every run."""
    row = tx.one(SQL["run_faults"])
    assert row is not None  # noqa: S101 - aggregates always answer
    return RunFaults(**row)
