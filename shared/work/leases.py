"""Keeps the leases of what this process is doing: one thread renews them all, a lost one is marked on its claim."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from shared.work.model import Claim

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews held claims every third of a lease. An effect must have a deadline of its own: a lease is no time limit."""

    def __init__(self, renew: Callable[[Claim], bool], *, lease_s: float) -> None:
        self._renew = renew
        self._period_s = lease_s / 3
        self._held: dict[tuple[int, int], Claim] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def keeping(self, claim: Claim) -> Iterator[None]:
        """Renew `claim` for as long as the block runs."""
        with self._lock:
            self._held[claim.id, claim.fence] = claim
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.pop((claim.id, claim.fence), None)

    def _run(self) -> None:
        while not self._wake.wait(self._period_s):
            with self._lock:
                held = list(self._held.values())
            for claim in held:
                self._renew_one(claim)

    def _renew_one(self, claim: Claim) -> None:
        try:
            if not self._renew(claim):
                claim.lost.set()
        except Exception as error:  # noqa: BLE001 - this thread must outlive any outage; the lease may lapse, the fence decides
            log.warning("lease_not_renewed", step=claim.ref.name, error=type(error).__name__)
