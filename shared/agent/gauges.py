"""What an operator watches of the paid agent: what models were asked and what it took, and money that an ended job still holds.

Model calls happen in workers, and web, which is scraped, is another process on another machine: so they are counters in a
table (migration 0006). Receipts could not serve: a failed call leaves none, nor does the judgement of an accepted job.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from shared.agent.model import JOB
from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.ledger import gauges as ledger_gauges

SQL = Queries.beside(__file__)

LATENCY_BOUNDS_MS = (250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000)
UNBOUNDED_MS = 2**31 - 1
"""The bucket of every call that took longer than the last bound."""


@dataclass(frozen=True)
class ModelGauge:
    """All calls of one model with one outcome since the database was made.

    `outcome`: `ok`, `abandoned`, or the code of an `UpstreamError`. `by_bound`: how many took at most so many milliseconds,
    each call in one bucket only.
    """

    model: str
    outcome: str
    by_bound: dict[int, int]
    tokens_in: int
    tokens_out: int
    latency_ms: int


def count_model_call(tx: Tx, *, model: str, outcome: str, tokens_in: int, tokens_out: int, latency_ms: int) -> None:
    """Add one call to the counters."""
    tx.run(
        SQL["count_model_call"],
        {
            "model": model,
            "outcome": outcome,
            "up_to_ms": next((bound for bound in LATENCY_BOUNDS_MS if latency_ms <= bound), UNBOUNDED_MS),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "latency_ms": latency_ms,
        },
    )


def gauges(tx: Tx) -> list[ModelGauge]:
    """Read the counters of every model and outcome."""
    grouped = groupby(tx.all(SQL["model_calls"]), key=lambda row: (row["model"], row["outcome"]))
    return [_gauge(model, outcome, list(rows)) for (model, outcome), rows in grouped]


def ended_holders(tx: Tx) -> list[int]:
    """Return the row ids of ended jobs that still hold a customer balance: money neither earned nor owed back."""
    return [row["id"] for row in tx.all(SQL["ended_among"], {"ids": ledger_gauges.holders(tx, JOB)})]


def _gauge(model: str, outcome: str, rows: list[Row]) -> ModelGauge:
    return ModelGauge(
        model=model,
        outcome=outcome,
        by_bound={row["up_to_ms"]: row["calls"] for row in rows},
        tokens_in=sum(row["tokens_in"] for row in rows),
        tokens_out=sum(row["tokens_out"] for row in rows),
        latency_ms=sum(row["latency_ms"] for row in rows),
    )
