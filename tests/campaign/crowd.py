"""Customers who buy one thing after the other until told to stop, each in a thread of his own: jobs, sessions, runs, verifications."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Self

from tests.campaign.customer import Customer
from tests.campaign.holder import Holder
from tests.campaign.run_caller import Held, RunCaller
from tests.campaign.verifier import Verifier

CUSTOMERS = 8
PATIENCE_S = 150.0


@dataclass
class Crowd:
    """The customers of one running stack. A context manager: they start on entry; on exit each finishes what he has begun.

    `holders` of them live sessions instead of buying jobs, `callers` have models run, `verifiers` code verified. `claims`: whether
    who bought a job has its rest paid back.
    """

    endpoints: dict[str, Any]
    holders: int = 0
    callers: int = 0
    verifiers: int = 0
    claims: bool = False
    accepted: list[str] = field(default_factory=list)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each ended job as the API shows it."""
    lived: list[str] = field(default_factory=list)
    """Each session that was closed, and what it had left taken out."""
    paid_back: dict[str, int] = field(default_factory=dict)
    """The sats of each refund and withdrawal that was told to be paid, by payment hash."""
    held: dict[str, Held] = field(default_factory=dict)
    """What was told of each run."""
    run_of_trace: dict[str, str] = field(default_factory=dict)
    """The run of each Idempotency-Key, by the trace id of its requests."""
    verified: int = 0
    """Verifications that came to their end."""
    resumed: int = 0
    """How often one of them had failed and was resumed."""
    refused: int = 0
    faults: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        others = [self._hold] * self.holders + [self._call] * self.callers + [self._verify] * self.verifiers
        lives = [*others, *[self._buy] * (CUSTOMERS - len(others))]
        self._threads = [threading.Thread(target=self._live, args=(life,)) for life in lives]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def in_state(self, state: str) -> list[str]:
        """Return the ids of the jobs that ended so."""
        return [job_id for job_id, shown in self.ended.items() if shown["state"] == state]

    def _live(self, life: Callable[[], None]) -> None:
        try:
            life()
        except BaseException as error:  # noqa: BLE001 - it is raised again by the round
            self.faults.append(error)

    def _buy(self) -> None:
        with closing(Customer(self.endpoints, patience_s=PATIENCE_S)) as customer:
            try:
                while not self._stop.is_set():
                    created = customer.order()
                    with self._lock:
                        self.accepted.append(created["jobId"])
                    done = customer.finish(created)
                    if self.claims:
                        customer.claim(done)
                    with self._lock:
                        self.ended[done["jobId"]] = done
                        self.paid_back |= customer.paid_to_me
            finally:
                with self._lock:
                    self.refused += customer.refused

    def _hold(self) -> None:
        with closing(Holder(self.endpoints, patience_s=PATIENCE_S)) as holder:
            while not self._stop.is_set():
                session_id = holder.live()
                with self._lock:
                    self.lived.append(session_id)
                    self.paid_back |= holder.paid_to_me

    def _call(self) -> None:
        with closing(RunCaller(self.endpoints, patience_s=PATIENCE_S)) as caller:
            try:
                while not self._stop.is_set():
                    caller.live()
            finally:
                with self._lock:
                    self.held |= caller.held
                    self.run_of_trace |= caller.by_trace

    def _verify(self) -> None:
        with closing(Verifier(self.endpoints, patience_s=PATIENCE_S)) as verifier:
            while not self._stop.is_set():
                resumptions = verifier.live()
                with self._lock:
                    self.verified += 1
                    self.resumed += resumptions
