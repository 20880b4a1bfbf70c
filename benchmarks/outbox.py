"""The outbox hop: from the commit of an outbox row to the start of its task, with the relay nudged and not.

The task is `job.open_eval_invoice` of a job that does not exist, so it has a step to claim and nothing to do. Its start is the
claim's own timestamp in the step's row, a little after the worker took the message: the figures err on the long side.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

import psycopg
from psycopg.rows import DictRow

from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, Section, latency, p99_ms, percentile
from benchmarks.ground import Ground
from benchmarks.peer import running_peer
from benchmarks.program import await_true
from benchmarks.worker_events import WorkerEvents
from shared.work.model import StepRef
from shared.work.service import Work, WorkLimits

IDLE_GOAL_MS, NUDGED_GOAL_MS = 300, 30
_LIMITS = WorkLimits(lease_s=60.0, rescue_after_s=30.0, max_attempts=3)
_STARTED = """
SELECT extract(epoch FROM started_at)::float8 AS at FROM steps
 WHERE owner_kind = 'job' AND owner_id = %(id)s AND started_at IS NOT NULL
"""


@dataclass(frozen=True)
class Hop:
    """One hop: the row's id, just before its commit, and the claim of its step. Unix seconds."""

    row_id: int
    committed_at: float
    claimed_at: float

    @property
    def took_s(self) -> float:
        """From commit to claim."""
        return self.claimed_at - self.committed_at


def measure(ground: Ground, effort: Effort) -> Section:
    """Ring without a nudge at random moments of the relay's poll, then with one."""
    silent = Work(ground.container.database, _LIMITS, nudge=lambda: None)
    nudging = ground.container.work
    with running_peer(ground) as peer:
        bare = peer.hops(ground.clock, effort.celery_hops)
        with ground.connect() as rows, WorkerEvents() as heard:
            bell = _Bell(ground, rows)
            bell.ring_all(nudging, 5, pause_s=0.05)
            idle = bell.ring_all(silent, effort.outbox_idle, pause_s=0.25)
            nudged = bell.ring_all(nudging, effort.outbox_nudged, pause_s=0.02)
            rows.execute("DELETE FROM steps WHERE owner_kind = 'job' AND owner_id < 0")
    return _section(idle, nudged, bare, heard)


def _section(idle: list[Hop], nudged: list[Hop], bare: list[float], heard: WorkerEvents) -> Section:
    polled_s, nudged_s = [hop.took_s for hop in idle], [hop.took_s for hop in nudged]
    return Section(
        "Outbox hop: commit of the row → start of its task",
        [
            latency("no nudge (the relay polls every 250 ms)", polled_s),
            latency("nudged", nudged_s),
            latency("bare Celery hop: sent → task runs", bare),
        ],
        [
            Comparison("p99 without a nudge", p99_ms(polled_s), "ms", IDLE_GOAL_MS),
            Comparison("p99 nudged", p99_ms(nudged_s), "ms", NUDGED_GOAL_MS),
            Comparison("nudged / bare Celery hop, p50", percentile(nudged_s, 0.5) / percentile(bare, 0.5)),
        ],
        [*_breakdown("no nudge", idle, heard), *_breakdown("nudged", nudged, heard)],
        ["Nothing else was queued. Measured from just before the commit to the claim of the step."],
    )


def _breakdown(how: str, hops: list[Hop], heard: WorkerEvents) -> list[Figure]:
    """Split the hops by what the workers said; one that they did not speak of in time is left out."""
    known = [
        (hop, heard.received_at[name], heard.started_at[name])
        for hop in hops
        if (name := f"({hop.row_id},)") in heard.started_at
    ]
    return [
        latency(
            f"{how}: commit → relay → broker → worker", [received - hop.committed_at for hop, received, _ in known]
        ),
        latency(f"{how}: message received → task begins", [started - received for _, received, started in known]),
        latency(f"{how}: task begins → step claimed", [hop.claimed_at - started for hop, _, started in known]),
    ]


class _Bell:
    """Starts steps of jobs that do not exist (negative ids), one at a time."""

    def __init__(self, ground: Ground, rows: psycopg.Connection[DictRow]) -> None:
        self._clock = ground.clock
        self._database = ground.container.database
        self._rows = rows
        self._pause = threading.Event()
        self._last = 0

    def ring_all(self, work: Work, count: int, *, pause_s: float) -> list[Hop]:
        """Make `count` hops, with a random pause of at most `pause_s` before each."""
        hops = []
        for _ in range(count):
            self._pause.wait(random.uniform(0, pause_s))
            hops.append(self._ring(work))
        return hops

    def _ring(self, work: Work) -> Hop:
        self._last -= 1
        with self._database.transaction() as tx:
            work.start(tx, StepRef("job", self._last, "open_eval_invoice"))
            committed_at = self._clock.now().timestamp()
        await_true(lambda: self._claimed_at() is not None, what="the start of a task", every_s=0.005)
        return Hop(self._last, committed_at, self._claimed_at() or 0.0)

    def _claimed_at(self) -> float | None:
        row = self._rows.execute(_STARTED, {"id": self._last}).fetchone()
        return None if row is None else float(row["at"])
