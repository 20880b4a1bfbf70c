"""Server-sent events as their reader sees them: each one's exact bytes, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import httpx

DONE = "[DONE]"


@dataclass(frozen=True)
class Event:
    """One event. `wire`: its bytes, with the empty line that ends it."""

    wire: bytes
    id: int | None
    name: str | None
    data: str

    @property
    def is_done(self) -> bool:
        """True for the end of a complete stream."""
        return self.data == DONE

    @property
    def is_fault(self) -> bool:
        """True for the end of any other."""
        return not self.is_done and "error" in self.json

    @property
    def json(self) -> dict[str, Any]:
        """What it says."""
        said: dict[str, Any] = json.loads(self.data)
        return said


def events_of(response: httpx.Response) -> Iterator[Event]:
    """Yield the events of an open answer as they come; comments are left out."""
    return parsed(response.iter_bytes())


def parsed(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a byte stream."""
    waiting = b""
    for chunk in chunks:
        *whole, waiting = (waiting + chunk).split(b"\n\n")
        for wire in whole:
            if not wire.startswith(b":"):
                yield _event(wire + b"\n\n")
    assert waiting == b"", f"the stream broke off in {waiting!r}"


def text_of(events: Iterable[Event]) -> str:
    """Return the text that the events of a stream of inference add up to."""
    return "".join(event.json.get("text", "") for event in events if not event.is_done)


def require_one_end(events: list[Event]) -> Event:
    """Return the last event, after checking that it alone ends the stream and that the ids count on without gaps."""
    ends = [event for event in events if event.is_done or event.is_fault]
    assert ends == events[-1:]
    ids = [event.id for event in events if event.id is not None]
    assert all(after == before + 1 for before, after in pairwise(ids))
    return ends[0]


def _event(wire: bytes) -> Event:
    fields = dict(line.split(": ", 1) for line in wire.decode().strip().split("\n"))
    number = fields.get("id")
    return Event(wire, None if number is None else int(number), fields.get("event"), fields["data"])
