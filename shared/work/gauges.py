"""What an operator watches of the work: what waits, what runs, what was set aside, and whether anybody rings and consumes."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.work.model import STRANDED, StepState

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class StepGauge:
    """The steps of one kind, name and state.

    `age_s` is the oldest's: seconds since it was due (queued) or first claimed (running); quarantined: since the latest ended.
    `stranded` counts the quarantined whose owners could not be given up.
    """

    kind: str
    name: str
    state: StepState
    steps: int
    age_s: float
    stranded: int


@dataclass(frozen=True)
class WorkGauges:
    """Ages in seconds. `tick_ages` lacks ticks that never ran, `canary_ages` queues that nobody ever consumed."""

    outbox_due: int
    outbox_delayed: int
    outbox_age_s: float
    steps: tuple[StepGauge, ...]
    lapsed: int
    lapsed_s: float
    tick_ages: dict[str, float]
    canary_ages: dict[str, float]

    def of(self, state: StepState) -> list[StepGauge]:
        """Return the gauges of one state."""
        return [step for step in self.steps if step.state is state]


def gauges(tx: Tx) -> WorkGauges:
    """Read the present figures."""
    outbox = tx.all(SQL["outbox_rows"])[0]
    lapsed = tx.all(SQL["lapsed_leases"])[0]
    return WorkGauges(
        outbox_due=outbox["due"],
        outbox_delayed=outbox["delayed"],
        outbox_age_s=outbox["oldest_due_s"],
        steps=tuple(
            StepGauge(
                row["owner_kind"], row["name"], StepState(row["state"]), row["steps"], row["age_s"], row["stranded"]
            )
            for row in tx.all(SQL["steps_by_state"], {"stranded": STRANDED})
        ),
        lapsed=lapsed["steps"],
        lapsed_s=lapsed["longest_s"],
        tick_ages={row["name"]: row["age_s"] for row in tx.all(SQL["tick_ages"])},
        canary_ages={row["queue"]: row["age_s"] for row in tx.all(SQL["canary_ages"])},
    )
