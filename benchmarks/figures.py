"""What a benchmark hands on: figures with their number of samples, comparisons with or without a goal, sections of both."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

_RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """One line of absolute values by column, and how many samples stand behind them. The column says the unit."""

    name: str
    values: dict[str, float]
    n: int


@dataclass(frozen=True)
class Comparison:
    """One measured value against a goal (`limit`), or a ratio that only informs (None).

    `interval` holds 95 of 100 resamples: how far few samples can carry.
    """

    name: str
    measured: float
    unit: str = "×"
    limit: float | None = None
    at_most: bool = True
    interval: tuple[float, float] | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.limit is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


@dataclass(frozen=True)
class Section:
    """What one benchmark found. `breakdown` says where the time went, measured; `remarks` what was compared with what."""

    title: str
    figures: list[Figure]
    comparisons: list[Comparison] = field(default_factory=list)
    breakdown: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that was measured, never one in between. `share` in (0, 1]."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def p99_ms(seconds: Sequence[float]) -> float:
    """Return the 99th percentile of `seconds`, in milliseconds."""
    return percentile(seconds, 0.99) * 1000


def p99_ratio(name: str, over: Sequence[float], under: Sequence[float], *, limit: float) -> Comparison:
    """Return the ratio of two 99th percentiles with its bootstrap interval: few samples stand behind a 99th percentile."""
    draw = random.Random(1)
    ratios = [
        percentile(draw.choices(over, k=len(over)), 0.99) / percentile(draw.choices(under, k=len(under)), 0.99)
        for _ in range(_RESAMPLES)
    ]
    interval = (percentile(ratios, 0.025), percentile(ratios, 0.975))
    return Comparison(name, percentile(over, 0.99) / percentile(under, 0.99), limit=limit, interval=interval)


def latency(name: str, seconds: Sequence[float]) -> Figure:
    """Return p50, p99 and the longest of `seconds`, in milliseconds."""
    if not seconds:
        return Figure(name, {}, 0)
    columns = {"p50_ms": percentile(seconds, 0.5), "p99_ms": percentile(seconds, 0.99), "max_ms": max(seconds)}
    return Figure(name, {column: value * 1000 for column, value in columns.items()}, len(seconds))


def rate(name: str, count: int, elapsed_s: float) -> Figure:
    """Return how many a second."""
    return Figure(name, {"per_s": count / elapsed_s}, count)
