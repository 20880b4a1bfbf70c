"""How many chat requests arrived, and how each ended: what a test of "no upstream call was made" asks."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

_KEPT = 1000


class Outcome(StrEnum):
    """How a chat request ended."""

    RUNNING = "running"
    SERVED = "served"
    FAULT = "fault"
    CLIENT_GONE = "client_gone"


@dataclass
class Entry:
    """One chat request, in order of arrival from 1; model and stream are unset when the body made no sense."""

    number: int
    model: str | None = None
    stream: bool | None = None
    outcome: Outcome = Outcome.RUNNING


class RequestLog:
    """Counts all, keeps the newest thousand."""

    def __init__(self) -> None:
        self._last = 0
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def open(self) -> Entry:
        """Count one more request."""
        self._last += 1
        entry = Entry(self._last)
        self._entries.append(entry)
        return entry

    def since(self, number: int) -> dict[str, Any]:
        """Return what arrived after request `number`."""
        entries = [asdict(entry) for entry in self._entries if entry.number > number]
        return {"count": max(0, self._last - number), "last": self._last, "requests": entries}
