"""What a run costs: how many, in how many seconds, and the processor time of each process meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg.rows import DictRow

from benchmarks import box
from benchmarks.figures import Figure
from benchmarks.ground import Ground

# of the stack's processes, what is not the product but stands in for the world around it
_STAND_INS = ("lightning", "sim-model", "witness")
_WORTH_A_LINE_MS = 0.1
_SELF = "this benchmark (customers, senders)"
# numbers are given only to transactions that write
_WRITTEN = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS number"


@dataclass(frozen=True)
class Run:
    """How many, in how many seconds, and what they cost each process in processor seconds."""

    count: int
    elapsed_s: float
    spent_s: dict[str, float]

    @property
    def per_s(self) -> float:
        """How many a second."""
        return self.count / self.elapsed_s


def watched(ground: Ground, pids: dict[str, int], count: int, act: Callable[[], None]) -> Run:
    """Do `count` of something and see what each of these processes spends on it."""
    before = {name: box.cpu_of_tree(pid) for name, pid in pids.items()}
    own, began = os.times(), ground.clock.monotonic()
    act()
    elapsed_s, own_after = ground.clock.monotonic() - began, os.times()
    spent = {name: box.cpu_of_tree(pid) - before[name] for name, pid in pids.items()}
    spent[_SELF] = own_after.user + own_after.system - own.user - own.system
    return Run(count, elapsed_s, spent)


def processes(ground: Ground) -> dict[str, int]:
    """Return the stack's processes by name."""
    return {name: process.pid for name, process in ground.stack.processes.items() if process.pid is not None}


def costs(what: str, run: Run) -> list[Figure]:
    """Return what one of them cost in processor time, in all, by side and by process."""
    ordered = sorted(run.spent_s.items(), key=lambda item: -item[1])
    outside = sum(run.spent_s.get(name, 0.0) for name in (*_STAND_INS, _SELF))
    total = sum(run.spent_s.values())
    shares = {
        "cpu_ms": total,
        "of_it_workers_and_stores_ms": total - outside,
        "of_it_stand_ins_and_customers_ms": outside,
    }
    columns = {name: seconds * 1000 / run.count for name, seconds in shares.items()}
    return [
        Figure(f"{what}: processor time", columns | {"cores_busy": total / run.elapsed_s}, run.count),
        *(
            Figure(f"{what}:   {name}", {"cpu_ms": seconds * 1000 / run.count}, run.count)
            for name, seconds in ordered
            if seconds * 1000 / run.count >= _WORTH_A_LINE_MS
        ),
    ]


def written(rows: psycopg.Connection[DictRow]) -> int:
    """Return a number that grows by one with each database transaction that writes."""
    found = rows.execute(_WRITTEN).fetchone()
    return int(found["number"]) if found else 0
