"""Time, injected. Nothing else in the product reads the wall clock (a lint rule says so)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a room needs to know about time."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the machine's idea of now, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that may

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()


class SteadyClock(SystemClock):
    """The wall clock as it stood when this was built, carried on by the monotonic one: it never jumps, and drifts as that does.

    For what must go on in even steps whatever is done to the machine's clock; never for what others will read.
    """

    def __init__(self) -> None:
        self._began = super().now()
        self._began_s = self.monotonic()

    def now(self) -> datetime:
        """Return the instant that it would be, had nobody set the clock meanwhile; aware, in UTC."""
        return self._began + timedelta(seconds=self.monotonic() - self._began_s)
