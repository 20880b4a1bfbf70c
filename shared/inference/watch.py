"""Which of the runs that this process does are wanted no more: one look at all of them, a few times a second, while there are any."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from shared.db.service import Database
from shared.inference import store
from shared.inference.model import CancelReason
from shared.kernel.errors import LucidError, Unavailable

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.3


class RunCancelled(LucidError):
    """The run is wanted no more; `reason` says why."""

    code = "cancelled"

    def __init__(self, reason: CancelReason) -> None:
        super().__init__(f"the run was given up: {reason}")
        self.reason = reason


class Wanted:
    """Whether one run still is."""

    def __init__(self) -> None:
        self.reason: CancelReason | None = None

    def check(self) -> None:
        """Raise `RunCancelled` if not."""
        if self.reason is not None:
            raise RunCancelled(self.reason)


class CancelWatch:
    """Watches the runs of this process. `grace_s`: seconds after which a caller who left counts as gone."""

    def __init__(self, database: Database, *, grace_s: float) -> None:
        self.grace_s = grace_s
        self._database = database
        self._watched: dict[int, Wanted] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, run_id: int) -> Iterator[Wanted]:
        """Yield what tells whether the run is still wanted."""
        wanted = Wanted()
        with self._lock:
            self._watched[run_id] = wanted
            self._some.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cancels", daemon=True)
                self._thread.start()
        try:
            yield wanted
        finally:
            with self._lock:
                if self._watched.get(run_id) is wanted:
                    del self._watched[run_id]
                if not self._watched:
                    self._some.clear()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._some.wait()
            pause.wait(LOOK_EVERY_S)
            with self._lock:
                watched = dict(self._watched)
            if not watched:
                continue
            try:
                with self._database.transaction() as tx:
                    cancelled = store.cancelled_among(tx, list(watched), grace_s=self.grace_s)
            except Unavailable as error:
                log.warning("cancels_not_looked_for", error=type(error).__name__)
                continue
            for run_id, reason in cancelled.items():
                watched[run_id].reason = reason
