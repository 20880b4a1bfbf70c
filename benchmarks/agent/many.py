"""Fifty sessions at once: all deposit, then all make requests in a row, then all close. At the end the books must be true."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
from psycopg.rows import DictRow

from benchmarks.agent.holder import Holder
from benchmarks.costs import Run, costs, processes, watched, written
from benchmarks.crowd import at_once
from benchmarks.customer import WentWrong
from benchmarks.effort import Effort
from benchmarks.figures import Figure, latency, rate
from benchmarks.ground import Ground

DEPOSIT_SATS = 1_000
_MOST_REQUESTS = 60
"""How many requests a deposit carries with what each reserves to spare."""
_LEFT = """
SELECT count(*) FILTER (WHERE state = 'expired' AND closed)::int AS closed,
       count(*) FILTER (WHERE EXISTS (SELECT 1 FROM reservations AS r WHERE r.owner_kind = 'session' AND r.owner_id = s.id
                                          AND r.state = 'open'))::int AS reserving,
       count(*) FILTER (WHERE EXISTS (SELECT 1 FROM debts AS d WHERE d.owner_kind = 'session' AND d.owner_id = s.id
                                          AND d.state = 'open'))::int AS owed,
       (SELECT count(*) FROM session_requests AS q WHERE q.session_id = ANY(%(ids)s) AND q.state = 'complete')::int AS complete,
       (SELECT coalesce(sum(amount_msat), 0) FROM postings AS p WHERE p.account = 'customer' AND p.owner_kind = 'session'
           AND p.owner_id = ANY(%(ids)s))::bigint AS held_msat
  FROM sessions AS s WHERE s.id = ANY(%(ids)s)
"""


@dataclass
class Many:
    """The three phases, and the samples in seconds."""

    sessions: int
    opening: Run
    asking: Run
    closing: Run
    writes: float
    """Database transactions that wrote, a request."""
    asked_s: list[float] = field(default_factory=list)
    paid_s: list[float] = field(default_factory=list)
    active_s: list[float] = field(default_factory=list)
    requests_s: list[float] = field(default_factory=list)
    closed_s: list[float] = field(default_factory=list)

    def figures(self) -> list[Figure]:
        """Return the absolute values."""
        at_once_ = f"{self.sessions} sessions at once"
        return [
            rate(f"{at_once_}: requests", self.asking.count, self.asking.elapsed_s),
            latency(f"{at_once_}: a request", self.requests_s),
            rate(f"{at_once_}: opened, paid and active", self.opening.count, self.opening.elapsed_s),
            rate(f"{at_once_}: closed and paid out", self.closing.count, self.closing.elapsed_s),
            latency(f"{at_once_}: close → paid out", self.closed_s),
        ]

    def breakdown(self) -> list[Figure]:
        """Return where the time went."""
        return [
            latency("opening: asked → invoice there", self.asked_s),
            latency("opening: the wallet pays", self.paid_s),
            latency("opening: wallet has success → session active", self.active_s),
            Figure(
                "database transactions that wrote, a request, ticks included",
                {"in_all": self.writes},
                self.asking.count,
            ),
            *costs("a session's request", self.asking),
            *costs("a session opened", self.opening),
            *costs("a session closed", self.closing),
        ]


def measure(ground: Ground, effort: Effort) -> Many:
    """Have as many holders as threads go through the three phases. Raises `WentWrong` where one does not end as it should."""
    each = min(effort.requests_a_session, _MOST_REQUESTS)
    with ExitStack() as opened, ground.connect() as rows:
        holders = [opened.enter_context(Holder(ground, rows)) for _ in range(effort.sessions)]
        samples: dict[str, list[float]] = {"requests_s": [], "closed_s": []}
        opening = _phase(ground, holders, 1, lambda holder: holder.open(DEPOSIT_SATS))
        before = written(rows)
        asking = _phase(ground, holders, each, lambda holder: samples["requests_s"].append(holder.ask().took_s))
        wrote = written(rows) - before
        closing = _phase(ground, holders, 1, lambda holder: samples["closed_s"].append(holder.close()))
        sessions = [holder.session for holder in holders]
        _require_ended(rows, [session.row_id for session in sessions], requests=each * len(holders))
    return Many(
        len(holders),
        opening,
        asking,
        closing,
        wrote / asking.count,
        [session.asked_s for session in sessions],
        [session.paid_s for session in sessions],
        [session.active_s for session in sessions],
        **samples,
    )


def _phase(ground: Ground, holders: list[Holder], each: int, act: Callable[[Holder], object]) -> Run:
    def run(number: int, share: int) -> None:
        for _ in range(share):
            act(holders[number])

    count = each * len(holders)
    return watched(ground, processes(ground), count, lambda: at_once(run, count, threads=len(holders)))


def _require_ended(rows: psycopg.Connection[DictRow], ids: list[int], *, requests: int) -> None:
    """Require that every session is closed and every request complete, and that nothing of any is held, reserved or owed."""
    found = rows.execute(_LEFT, {"ids": ids}).fetchone()
    wanted = {"closed": len(ids), "reserving": 0, "owed": 0, "complete": requests, "held_msat": 0}
    if found != wanted:
        raise WentWrong(f"the sessions did not all end as they should: {found}, not {wanted}")
