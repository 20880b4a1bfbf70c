"""The Celery application: a courier that may lose anything but latency. PostgreSQL is the truth."""

from __future__ import annotations

import os
from threading import Thread
from typing import Any

import structlog
from celery import Celery, Task
from celery.schedules import schedule
from celery.signals import setup_logging, task_postrun, task_prerun, worker_init, worker_ready, worker_shutting_down

from config.celery import CELERY
from config.logging import bind_correlation_id
from config.queues import QUEUES, VERIFICATION
from config.schedule import TICKS
from shared.bootstrap import Container, Role, start_from_environment
from shared.kernel.clock import SteadyClock
from shared.sandbox.model import SandboxUnavailable

log = structlog.get_logger(__name__)

CID = "cid"
CANARY = "canary.sing"
CANARY_PERIOD_S = 10.0
LONGEST_BELL_S = 60.0
"""Beat counts from its own start, so a rarer bell would be lost to every restart. The tick's row knows when it last ran."""

# Beat counts by a clock that nobody sets: else it would fall silent for as long as the machine's was set back. And what it sends
# does not expire: that is judged by the receiver's clock, which may be ahead; a late one finds that its turn is not due.
_steady = SteadyClock()

app = Celery("lucid")
app.conf.update(
    CELERY,
    broker_url=os.environ.get("REDIS_URL", ""),
    beat_schedule={
        **{
            tick.name: {
                "task": f"tick.{tick.name}",
                "schedule": schedule(min(tick.period_s, LONGEST_BELL_S), nowfun=_steady.now),
                "options": {"queue": tick.queue.name},
            }
            for tick in TICKS
        },
        **{
            f"canary.{queue.name}": {
                "task": CANARY,
                "schedule": schedule(CANARY_PERIOD_S, nowfun=_steady.now),
                "args": (queue.name,),
                "options": {"queue": queue.name},
            }
            for queue in QUEUES
        },
    },
)


class _Process:
    """What belongs to this worker process alone."""

    container: Container | None = None


def container() -> Container:
    """Return this process's container, built before its first task."""
    if _Process.container is None:
        _Process.container = start_from_environment(Role.WORKER)
    return _Process.container


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Being connected is the point: Celery then leaves the root logger alone."""


@worker_init.connect
def _start(**_: Any) -> None:
    """Refuse to work on a wrong schema. Celery swallows what a signal raises, all but `SystemExit`."""
    try:
        container().warm()
    except Exception as error:
        raise SystemExit(f"cannot start: {error}") from error


@worker_ready.connect
def _sing(sender: Any = None, **_: Any) -> None:
    """Readiness means that work is consumed: send each of our queues a canary at once, beat sends the later ones."""
    names = [queue.name for queue in sender.task_consumer.queues]
    for name in names:
        app.send_task(CANARY, args=(name,), queue=name)
    if VERIFICATION.name in names:
        Thread(target=_warm_sandboxes, name="warm", daemon=True).start()


def _warm_sandboxes() -> None:
    """Compile the interpreters now, seconds once a machine: no caller's first run should wait for it."""
    try:
        container().sandboxes.warm()
    except SandboxUnavailable as error:
        log.warning("sandbox_unavailable", reason=error.message)


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Long steps see this between two tokens and give their work back."""
    container().work.stopping.set()


@task_prerun.connect
def _enter(task: Task[Any, Any] | None = None, **_: Any) -> None:
    headers = (task.request.headers if task is not None else None) or {}
    bind_correlation_id(str(headers.get(CID, "")))


@task_postrun.connect
def _leave(**_: Any) -> None:
    bind_correlation_id("")
