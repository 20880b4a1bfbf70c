"""The periodic ticks: name, period and queue. Beat only rings; the row in `schedule` decides whether a tick is due."""

from dataclasses import dataclass

from config.queues import MONEY, TICK, Queue


@dataclass(frozen=True)
class Tick:
    """One periodic doorbell. `period_s` is the least time between two runs that do anything."""

    name: str
    period_s: float
    queue: Queue


TICKS = (
    Tick("work.rescue", 5, TICK),
    Tick("invoices.sweep", 5, MONEY),
    Tick("log.integrate", 1, TICK),
    Tick("epochs.close", 5, TICK),
    Tick("anchors.retry", 10, TICK),
    Tick("work.canary", 10, TICK),
    Tick("work.prune", 3600, TICK),
)
