"""The courier itself, through pytest-celery: a task goes round, and outlives its broker and its worker."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from pytest_celery import CeleryTestSetup

PATIENCE_S = 30.0


def test_a_task_is_published_consumed_and_done(
    celery_setup: CeleryTestSetup, database: psycopg.Connection[Any]
) -> None:
    _send(celery_setup, "round-trip")
    _await_song(database, "round-trip")


def test_a_task_sent_after_a_broker_restart_is_done(
    celery_setup: CeleryTestSetup, database: psycopg.Connection[Any]
) -> None:
    _await_song(database, "tick")  # the worker's own canary is done: nothing is in flight
    celery_setup.broker.restart()
    _send(celery_setup, "after-broker")
    _await_song(database, "after-broker")


def test_a_task_that_waits_for_a_killed_worker_is_done_by_the_next_one(
    celery_setup: CeleryTestSetup, database: psycopg.Connection[Any]
) -> None:
    celery_setup.worker.kill()
    assert celery_setup.worker.container.status == "exited"
    _send(celery_setup, "after-worker")
    celery_setup.worker.restart()
    _await_song(database, "after-worker")


def test_the_tasks_of_the_product_are_registered_under_readable_names(celery_setup: CeleryTestSetup) -> None:
    for name in ("job.evaluate", "sweep.settle", "log.integrate", "anchor.submit", "tick.work.rescue"):
        celery_setup.worker.assert_log_exists(f". {name}")


def _send(setup: CeleryTestSetup, name: str) -> None:
    setup.app.send_task("canary.sing", args=(name,), queue="tick")


def _await_song(database: psycopg.Connection[Any], name: str) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.05)):
        if database.execute("SELECT 1 FROM canaries WHERE queue = %s", (name,)).fetchone():
            return
        pause.wait(0.05)
    raise AssertionError(f"the task {name} was not done in {PATIENCE_S} s")
