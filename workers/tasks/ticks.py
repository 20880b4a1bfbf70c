"""Scheduled doorbells. Beat rings; a tick does something only where it wins its row (`Work.tick`)."""

from __future__ import annotations

from config.schedule import (
    CLOSE_EPOCHS,
    EXPIRE_RUNS,
    EXPIRE_SESSIONS,
    EXPIRE_VERIFICATIONS,
    INTEGRATE,
    MACAROON_ROTATE,
    PROBE,
    PRUNE,
    RECONCILE,
    RESCUE,
    SWEEP,
)
from shared.db.service import Tx
from workers.app import CANARY, app, container


@app.task(name=f"tick.{RESCUE.name}")
def rescue() -> None:
    """Ring again what is stuck."""
    container().work.tick(RESCUE, _rescue, on_set_back=container().work.follow_clock)


@app.task(name=f"tick.{SWEEP.name}")
def sweep_invoices() -> None:
    """Start a sweep where invoices are due."""
    invoices = container().invoices
    container().work.tick(SWEEP, invoices.start_sweep, on_set_back=invoices.follow_clock)


@app.task(name=f"tick.{INTEGRATE.name}")
def integrate() -> None:
    """Integrate what a lost doorbell left waiting: a receipt waits a second at most."""
    if container().work.tick(INTEGRATE, lambda _tx: None):
        container().log.integrate()


@app.task(name=f"tick.{CLOSE_EPOCHS.name}")
def close_epochs() -> None:
    """Close the epochs that are due."""
    container().work.tick(CLOSE_EPOCHS, _close_epochs)


@app.task(name=f"tick.{EXPIRE_SESSIONS.name}")
def expire_sessions() -> None:
    """End the sessions that nobody has used for too long."""
    container().work.tick(EXPIRE_SESSIONS, container().session_closing.expire)


@app.task(name=f"tick.{RECONCILE.name}")
def reconcile() -> None:
    """Compare the books with the node's. On the queue of the one worker that may list payments."""
    if container().work.tick(RECONCILE, lambda _tx: None):
        container().reconciliation.run_unattended()


@app.task(name=f"tick.{PROBE.name}")
def probe_upstreams() -> None:
    """Ask the configured upstreams how they are, and speak for them."""
    if container().work.tick(PROBE, lambda _tx: None):
        container().probing.probe()


@app.task(name=f"tick.{EXPIRE_RUNS.name}")
def expire_runs() -> None:
    """End the runs whose time is up."""
    if container().work.tick(EXPIRE_RUNS, lambda _tx: None):
        container().runs.expire()


@app.task(name=f"tick.{EXPIRE_VERIFICATIONS.name}")
def expire_verifications() -> None:
    """End the verifications whose time is up."""
    if container().work.tick(EXPIRE_VERIFICATIONS, lambda _tx: None):
        container().verifications.expire()


@app.task(name=f"tick.{PRUNE.name}")
def prune() -> None:
    """Delete what nobody will ask about."""
    container().work.tick(PRUNE, _prune)


@app.task(name=f"tick.{MACAROON_ROTATE.name}")
def rotate_macaroons() -> None:
    """Begin a new generation of root keys where one is due."""
    container().work.tick(MACAROON_ROTATE, container().macaroons.rotate)


@app.task(name=CANARY)
def sing(queue: str) -> None:
    """Show that this queue is consumed."""
    container().work.sing(queue)


def _rescue(tx: Tx) -> None:
    container().work.rescue(tx)


def _close_epochs(tx: Tx) -> None:
    container().log.close_epochs(tx)


def _prune(tx: Tx) -> None:
    container().work.prune(tx)
    container().invoices.prune(tx)
    container().idempotency.prune(tx)
    container().demos.prune(tx)
    container().nodes.prune(tx)
    container().verifications.prune(tx)
    container().runs.forget(tx, days=container().settings.retention_days)
