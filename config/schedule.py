"""The periodic ticks: name, period and queue. Beat only rings; the row in `schedule` decides whether a tick is due."""

from dataclasses import dataclass

from config.queues import MONEY, PAYOUT, TICK, Queue


@dataclass(frozen=True)
class Tick:
    """One periodic doorbell. `period_s` is the least time between two runs that do anything."""

    name: str
    period_s: float
    queue: Queue


RESCUE = Tick("work.rescue", 5, TICK)
SWEEP = Tick("invoices.sweep", 5, MONEY)
INTEGRATE = Tick("log.integrate", 1, TICK)
CLOSE_EPOCHS = Tick("epochs.close", 2, TICK)
EXPIRE_SESSIONS = Tick("sessions.expire", 5, MONEY)
RECONCILE = Tick("books.reconcile", 900, PAYOUT)
# Three in a heartbeat's life: one may be lost and the node still counts.
PROBE = Tick("catalog.probe", 10, TICK)
# A run whose policy sets its time is ended at it by its worker; this is for those that have none.
EXPIRE_RUNS = Tick("runs.expire", 1, TICK)
# Its worker ends a verification in time; this is for those that no worker has, or a dead one.
EXPIRE_VERIFICATIONS = Tick("verifications.expire", 5, TICK)
PRUNE = Tick("work.prune", 3600, TICK)
# A generation lasts for days; but beat counts from its own start, and a daily bell would be lost to daily restarts.
MACAROON_ROTATE = Tick("macaroons.rotate", 3600, TICK)

TICKS = (
    RESCUE,
    SWEEP,
    INTEGRATE,
    CLOSE_EPOCHS,
    EXPIRE_SESSIONS,
    RECONCILE,
    PROBE,
    EXPIRE_RUNS,
    EXPIRE_VERIFICATIONS,
    PRUNE,
    MACAROON_ROTATE,
)
