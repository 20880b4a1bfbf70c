"""What `forward` costs beside the model: one call at a time, less the time that the model itself took; then twenty at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from psycopg.rows import DictRow

from benchmarks.crowd import at_once
from benchmarks.customer import WentWrong
from benchmarks.effort import Effort
from benchmarks.figures import Figure, latency, rate
from benchmarks.ground import Ground
from shared.access.model import Mode, Scope, Tier

CALLERS = 20
STAGES = ("extract", "verify", "remediate")
_PATIENCE_S = 330.0
_CALLS_A_KEY = 50
"""Below what a minute lets a key of the tier have."""
_BODIES = (
    {
        "code": "def add(a, b):\n    return a - b\n",
        "language": "python",
        "context": "Function should add two numbers",
    },
    {
        "code": "function add(a: number, b: number): number { return a - b; }",
        "language": "typescript",
        "context": "Function should add two numbers",
    },
)
_MODEL = "SELECT coalesce(sum(calls), 0)::int AS calls, coalesce(sum(latency_ms), 0)::int AS spent_ms FROM model_calls"


@dataclass(frozen=True)
class Called:
    """One call: the seconds it took, those of the model's calls in it, and its stages' by name."""

    took_s: float
    model_s: float
    stages_s: dict[str, float]


@dataclass(frozen=True)
class ForwardCalls:
    """Calls one after the other, and the seconds of those of the crowd."""

    alone: list[Called]
    crowd_s: list[float]
    crowd_elapsed_s: float

    @property
    def besides_s(self) -> list[float]:
        """Return what the calls took without the model."""
        return [call.took_s - call.model_s for call in self.alone]

    def figures(self) -> list[Figure]:
        """Return the absolute values."""
        return [
            latency("forward over HTTP, the model included", [call.took_s for call in self.alone]),
            latency("  the model's own time in it", [call.model_s for call in self.alone]),
            latency("  besides the model: evidence runs among it", self.besides_s),
            latency(f"{CALLERS} forward calls at once, each", self.crowd_s),
            rate(f"{CALLERS} forward calls at once: calls", len(self.crowd_s), self.crowd_elapsed_s),
        ]

    def breakdown(self) -> list[Figure]:
        """Return the stages, from the rows' own times, and what lies between them."""
        stages = [
            latency(f"forward: {name}", [call.stages_s[name] for call in self.alone if name in call.stages_s])
            for name in STAGES
        ]
        between = [call.took_s - sum(call.stages_s.values()) for call in self.alone]
        return [*stages, latency("forward: door, queue, commits, receipt", between)]


def measure(ground: Ground, effort: Effort) -> ForwardCalls:
    """Call one at a time, both languages in turns; then twenty callers at once, a call each."""
    with httpx.Client(base_url=ground.web, timeout=_PATIENCE_S, trust_env=False) as http, ground.connect() as rows:
        for body in _BODIES:
            _call(http, _key(ground), body)  # every process has done it once
        alone = _alone(ground, http, rows, effort.verifications)
    took, elapsed_s = _crowd(ground)
    return ForwardCalls(alone, took, elapsed_s)


def _alone(ground: Ground, http: httpx.Client, rows: psycopg.Connection[DictRow], count: int) -> list[Called]:
    measured = []
    key = ""
    for number in range(count):
        key = _key(ground) if number % _CALLS_A_KEY == 0 else key
        calls, spent_s = _model(rows)
        began = ground.clock.monotonic()
        usage = _call(http, key, _BODIES[number % len(_BODIES)])
        took_s = ground.clock.monotonic() - began
        calls_after, spent_after_s = _model(rows)
        if calls_after - calls != usage["pipeline_calls"]:
            raise WentWrong(
                f"{calls_after - calls} model calls were counted, the answer says {usage['pipeline_calls']}"
            )
        stages = {stage["stage"]: stage["duration_ms"] / 1000 for stage in usage["stages"]}
        measured.append(Called(took_s, spent_after_s - spent_s, stages))
    return measured


def _crowd(ground: Ground) -> tuple[list[float], float]:
    key, took, lock = _key(ground), [0.0] * 0, threading.Lock()

    def act(number: int, _share: int) -> None:
        with httpx.Client(base_url=ground.web, timeout=_PATIENCE_S, trust_env=False) as http:
            began = ground.clock.monotonic()
            _call(http, key, _BODIES[number % len(_BODIES)])
            seconds = ground.clock.monotonic() - began
        with lock:
            took.append(seconds)

    began = ground.clock.monotonic()
    at_once(act, CALLERS, threads=CALLERS)
    return took, ground.clock.monotonic() - began


def _key(ground: Ground) -> str:
    """Return a key of a new tenant."""
    issued = ground.container.api_keys.create(
        mode=Mode.LIVE, tier=Tier.TEAM, scopes=frozenset({Scope.VERIFICATION}), label="bench"
    )
    return issued.text


def _call(http: httpx.Client, key: str, body: dict[str, str]) -> dict[str, Any]:
    """Have code verified; return what that took. Raises `WentWrong` unless the defect was found by a run."""
    answer = http.post("/api/v1/forward", json=body, headers={"Authorization": f"Bearer {key}"})
    if not answer.is_success:
        raise WentWrong(f"forward answered {answer.status_code}: {answer.text[:300]}")
    found = answer.json()
    if not found["verification"]["failed"]:
        raise WentWrong("forward did not find the defect")
    usage: dict[str, Any] = found["usage"]
    return usage


def _model(rows: psycopg.Connection[DictRow]) -> tuple[int, float]:
    """Return how many calls the model has answered and how many seconds they took."""
    row = rows.execute(_MODEL).fetchone()
    return (int(row["calls"]), int(row["spent_ms"]) / 1000) if row else (0, 0.0)
