"""What a session's request costs beside the model: one at a time on one session, less the time that the model itself took.

The model's time is what the product's own counters say of its calls: each request makes two, and is the only one under way.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg.rows import DictRow

from benchmarks.agent.holder import Holder, Opened
from benchmarks.customer import WentWrong
from benchmarks.effort import Effort
from benchmarks.figures import Figure, latency
from benchmarks.ground import Ground
from benchmarks.http_load import Answer, get_all
from shared.access.tokens import grant_of, issue

DEPOSIT_SATS = 10_000
_MOST_A_SESSION = 400
"""How many requests a deposit carries with what each reserves to spare."""
_WARM = 5
_SHORT, _LONG = 1, 20
_MODEL = "SELECT coalesce(sum(calls), 0)::int AS calls, coalesce(sum(latency_ms), 0)::int AS spent_ms FROM model_calls"
_STAGES = """
SELECT r.public_id, extract(epoch FROM r.created_at)::float8 AS placed_at,
       extract(epoch FROM e.started_at)::float8 AS judging_at, extract(epoch FROM e.ended_at)::float8 AS judged_at,
       extract(epoch FROM w.started_at)::float8 AS working_at, extract(epoch FROM w.ended_at)::float8 AS done_at
  FROM session_requests AS r
  JOIN steps AS e ON e.owner_kind = 'request' AND e.owner_id = r.id AND e.name = 'evaluate'
  JOIN steps AS w ON w.owner_kind = 'request' AND w.owner_id = r.id AND w.name = 'execute'
 WHERE r.session_id = %(id)s
"""


@dataclass(frozen=True)
class Asked:
    """One request: its answer, the seconds that the model's calls took of it, and its stages in Unix seconds."""

    answer: Answer
    model_s: float
    stages: dict[str, float]

    @property
    def besides_s(self) -> float:
        """What it took without the model."""
        return self.answer.took_s - self.model_s


@dataclass(frozen=True)
class Overhead:
    """What was found: requests one after the other, GETs of one and of twenty of them, macaroons checked; seconds."""

    asked: list[Asked]
    one_s: list[float]
    twenty_s: list[float]
    verified_s: list[float]
    in_memory_s: list[float]

    def figures(self) -> list[Figure]:
        """Return the absolute values."""
        return [
            latency("a session's request over HTTP, the model included", [one.answer.took_s for one in self.asked]),
            latency("  the model's own time in it: two calls", [one.model_s for one in self.asked]),
            latency("  besides the model", [one.besides_s for one in self.asked]),
            latency(f"authorised GET of a session's requests, {_SHORT} shown", self.one_s),
            latency(f"authorised GET of a session's requests, {_LONG} shown", self.twenty_s),
            latency("macaroon verified, root keys read from the database", self.verified_s),
            latency("macaroon verified in memory, two root keys", self.in_memory_s),
        ]

    def breakdown(self) -> list[Figure]:
        """Return the stages of a request, from the rows' own times."""
        asked = self.asked
        return [
            latency(
                "request: sent → credential and price → placing begins",
                [a.stages["placed_at"] - a.answer.sent_at for a in asked],
            ),
            latency(
                "request: placing (commit) → relay → broker → judging begins",
                _between(asked, "placed_at", "judging_at"),
            ),
            latency("request: judging (a model call, its count)", _between(asked, "judging_at", "judged_at")),
            latency(
                "request: booking of that (commit) → broker → work begins", _between(asked, "judged_at", "working_at")
            ),
            latency("request: work (a model call, its count)", _between(asked, "working_at", "done_at")),
            latency(
                "request: booking (commit, announcement) → answered",
                [a.answer.sent_at + a.answer.took_s - a.stages["done_at"] for a in asked],
            ),
        ]


def measure(ground: Ground, effort: Effort) -> Overhead:
    """Ask one request after the other, a session at a time, then look at the last session's."""
    asked: list[Asked] = []
    one_s: list[float] = []
    twenty_s: list[float] = []
    verified_s: list[float] = []
    with ground.connect() as rows:
        for begin in range(0, effort.session_requests, _MOST_A_SESSION):
            count = min(_MOST_A_SESSION, effort.session_requests - begin)
            with Holder(ground, rows) as holder:
                session = holder.open(DEPOSIT_SATS)
                asked += _ask_all(holder, rows, count=count)
                if begin + count == effort.session_requests:
                    one_s = _look(ground, session, effort.http_requests // 4, shown=_SHORT)
                    twenty_s = _look(ground, session, effort.http_requests // 4, shown=_LONG)
                    verified_s = _verified(ground, session, effort.http_requests)
                holder.close()
    return Overhead(asked, one_s, twenty_s, verified_s, _in_memory(ground, effort.http_requests))


def _ask_all(holder: Holder, rows: psycopg.Connection[DictRow], *, count: int) -> list[Asked]:
    for _ in range(_WARM):
        holder.ask()
    measured = []
    for _ in range(count):
        calls, spent_s = _model(rows)
        answer = holder.ask()
        calls_after, spent_after_s = _model(rows)
        if calls_after - calls != 2:
            raise WentWrong(f"a request made {calls_after - calls} model calls, or was not alone")
        measured.append((answer, spent_after_s - spent_s))
    stages = {row.pop("public_id"): row for row in rows.execute(_STAGES, {"id": holder.session.row_id}).fetchall()}
    return [Asked(answer, model_s, stages[answer.body["requestId"]]) for answer, model_s in measured]


def _model(rows: psycopg.Connection[DictRow]) -> tuple[int, float]:
    """Return how many calls the model has answered and how many seconds they took."""
    row = rows.execute(_MODEL).fetchone()
    return (int(row["calls"]), int(row["spent_ms"]) / 1000) if row else (0, 0.0)


def _look(ground: Ground, session: Opened, count: int, *, shown: int) -> list[float]:
    url = f"{ground.web}{session.path}/requests?limit={shown}"
    get_all(url, count=20, connections=2, headers=session.credential)  # both workers warm
    return get_all(url, count=count, headers=session.credential)


def _verified(ground: Ground, session: Opened, count: int) -> list[float]:
    took = []
    for _ in range(count):
        began = ground.clock.monotonic()
        with ground.container.database.transaction() as tx:
            ground.container.macaroons.verify(tx, session.macaroon, now=ground.clock.now(), path=session.path)
        took.append(ground.clock.monotonic() - began)
    return took


def _in_memory(ground: Ground, count: int) -> list[float]:
    keys, seal = [hashlib.sha256(name).digest() for name in (b"newest", b"older")], bytes(32)
    token = issue(
        keys[-1],
        seal_key=seal,
        payment_hash=bytes(32),
        subject="session",
        subject_id="ses_" + "0" * 32,
        expires_at=ground.clock.now() + timedelta(days=1),
        caveats=[],
    )
    took = []
    for _ in range(count):
        began = ground.clock.monotonic()
        grant_of(token, root_keys=keys, seal_key=seal, now=ground.clock.now(), path="/api/sessions")
        took.append(ground.clock.monotonic() - began)
    return took


def _between(asked: list[Asked], begins: str, ends: str) -> list[float]:
    return [one.stages[ends] - one.stages[begins] for one in asked]
