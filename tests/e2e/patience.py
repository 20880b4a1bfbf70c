"""Waiting for what other processes do and announce to nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PAUSE_S = 0.05
_START_WITHIN_S = 60.0


def eventually(look: Callable[[], Found | None], *, what: str, within_s: float = 20.0) -> Found:
    """Return what `look` finds as soon as it finds something true; fail once `within_s` seconds have passed."""
    pause = threading.Event()
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come about within {within_s:g} s"
        pause.wait(_PAUSE_S)


def at_once(*calls: Callable[[], Found]) -> list[Found]:
    """Make all calls at the same moment, each in a thread of its own; return what they return."""
    barrier = threading.Barrier(len(calls))
    results: dict[int, Found] = {}
    faults: list[BaseException] = []

    def run(number: int, call: Callable[[], Found]) -> None:
        barrier.wait(_START_WITHIN_S)
        try:
            results[number] = call()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number, call)) for number, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return [results[number] for number in range(len(calls))]
