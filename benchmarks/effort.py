"""How much a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Counts of samples; `_s` are seconds. `append_batches`: how many batches at each batch size."""

    http_requests: int
    celery_hops: int
    commits: int
    outbox_idle: int
    outbox_nudged: int
    settlement_rounds: int
    settlement_block_s: float
    warm_jobs: int
    jobs: int
    chains: int
    session_requests: int
    sessions: int
    requests_a_session: int
    refunds: int
    gateway_calls: int
    gateway_rush: int
    gateway_paced_s: float
    gateway_hops: int
    verifications: int
    evidence_runs: int
    append_batches: dict[int, int]


SMOKE = Effort(50, 20, 50, 8, 10, 1, 3.0, 2, 8, 50, 6, 4, 2, 4, 20, 64, 1.0, 10, 2, 3, {1: 10, 100: 2, 1000: 1})
QUICK = Effort(
    1000,
    200,
    1000,
    100,
    300,
    4,
    7.5,
    16,
    160,
    600,
    200,
    50,
    5,
    100,
    200,
    640,
    15.0,
    100,
    30,
    100,
    {1: 300, 100: 20, 1000: 5},
)
FULL = Effort(
    10_000,
    3000,
    10_000,
    1000,
    2000,
    12,
    20.0,
    32,
    1200,
    10_000,
    2000,
    50,
    60,
    1000,
    2000,
    6400,
    60.0,
    1000,
    200,
    1000,
    {1: 3000, 100: 100, 1000: 30},
)

CUSTOMERS = 16
"""How many customers buy at once where throughput is measured, and how many bare chains are in flight."""
