"""The same caller for everyone: plain HTTP/1.1 over asyncio, which notes when bytes came and reads them only afterwards.

While a load runs this process shares the cores with what it measures, so it does nothing but send and append.
"""

from __future__ import annotations

import asyncio
import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import accumulate
from typing import Any
from urllib.parse import urlsplit

from benchmarks.customer import WentWrong
from shared.kernel.clock import Clock, SystemClock

PATIENCE_S = 120.0
_HEAD_ENDS = b"\r\n\r\n"
_MOST_REFUSALS = 10
_CHUNKS_END = b"0\r\n\r\n"
DONE = b"[DONE]"


@dataclass(frozen=True)
class Door:
    """Where a chat completion is asked for, and with which headers."""

    url: str
    headers: Mapping[str, str]

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def request(self, body: Mapping[str, Any]) -> bytes:
        """Return a whole request."""
        content = json.dumps(body).encode()
        parts = urlsplit(self.url)
        headers = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(content))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **self.headers}.items())
        return f"POST {parts.path} HTTP/1.1\r\n{lines}\r\n".encode() + content


@dataclass(frozen=True)
class Event:
    """One server-sent event's data, and when its last byte came: seconds since the request was sent."""

    data: bytes
    after_s: float

    @property
    def text(self) -> str:
        """The piece of the answer that it carries."""
        if self.data == DONE:
            return ""
        choices = json.loads(self.data).get("choices") or [{}]
        return str(choices[0].get("delta", {}).get("content") or "")


@dataclass(frozen=True)
class Heard:
    """One answer: when its request was sent (Unix seconds), and every read with its moment, in seconds since then.

    `refused`: how often it was told to come later before; the request then counts as sent when it was sent first.
    """

    sent_at: float
    reads: list[tuple[float, bytes]]
    refused: int = 0

    @property
    def took_s(self) -> float:
        """From sending to the last byte."""
        return self.reads[-1][0]

    @property
    def first_s(self) -> float:
        """From sending to the first byte."""
        return self.reads[0][0]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.reads[0][1].split(b" ", 2)[1])

    @property
    def later_s(self) -> float | None:
        """In how many seconds to come again, where that is asked for."""
        if self.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return None
        head = self.reads[0][1].partition(_HEAD_ENDS)[0].decode("latin-1")
        named = re.search(r"^retry-after: *([0-9]+)\r?$", head, re.IGNORECASE | re.MULTILINE)
        return float(named[1]) if named else None

    def body(self) -> dict[str, Any]:
        """Return the JSON object of an answer of success. Raises `WentWrong`."""
        _, content = self._parts()
        found: dict[str, Any] = json.loads(content)
        return found

    def events(self) -> list[Event]:
        """Return the events of a stream of success. Raises `WentWrong`."""
        head, _ = self._parts()
        raw = b"".join(read for _, read in self.reads)
        ends = list(accumulate(len(read) for _, read in self.reads))
        found = []
        for data, end in _events(raw, start=len(head) + len(_HEAD_ENDS)):
            found.append(Event(data, self.reads[bisect_left(ends, end)][0]))
        return found

    def _parts(self) -> tuple[bytes, bytes]:
        head, _, content = b"".join(read for _, read in self.reads).partition(_HEAD_ENDS)
        if self.status != HTTPStatus.OK:
            raise WentWrong(f"an answer of {self.status}: {content[:300]!r}")
        return head, content


def _events(raw: bytes, *, start: int) -> Iterator[tuple[bytes, int]]:
    """Yield the data of each event, and where in `raw`, which is in chunks from `start` on, it ends."""
    pending, at = b"", start
    while True:
        line_end = raw.index(b"\r\n", at)
        size = int(raw[at:line_end].split(b";")[0], 16)
        if size == 0:
            return
        begin = line_end + 2
        pending += raw[begin : begin + size]
        at = begin + size + 2
        *whole, pending = pending.split(b"\n\n")
        for event in whole:
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    yield line[6:], begin + size


class Caller(asyncio.Protocol):
    """One kept connection. One request at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._reads: list[tuple[float, bytes]] = []
        self._missing: int | None = None
        self._began = 0.0
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, door: Door) -> Caller:
        """Return a connected caller."""
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(lambda: cls(SystemClock()), *door.address)
        return caller

    async def ask(self, request: bytes) -> Heard:
        """Send a request and return its answer; come again where it says when, as the official clients do.

        Raises `WentWrong` where an answer does not come to its end.
        """
        refused, lost_s, sent_at = 0, 0.0, self._clock.now().timestamp()
        while True:
            began = self._clock.monotonic()
            heard = await self._asked(request)
            later_s = heard.later_s
            if later_s is None or refused == _MOST_REFUSALS:
                reads = [(after_s + lost_s, read) for after_s, read in heard.reads] if refused else heard.reads
                return Heard(sent_at, reads, refused)
            await asyncio.sleep(later_s)
            refused, lost_s = refused + 1, lost_s + self._clock.monotonic() - began

    async def _asked(self, request: bytes) -> Heard:
        if self._transport is None:
            raise WentWrong("not connected")
        self._reads, self._missing = [], None
        self._done = asyncio.get_running_loop().create_future()
        sent_at, self._began = self._clock.now().timestamp(), self._clock.monotonic()
        self._transport.write(request)
        try:
            await asyncio.wait_for(self._done, PATIENCE_S)
        except TimeoutError as error:
            raise WentWrong(f"an answer did not come to its end within {PATIENCE_S:g} s") from error
        return Heard(sent_at, self._reads)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Note the moment; look only for the end."""
        self._reads.append((self._clock.monotonic() - self._began, data))
        if len(self._reads) == 1:
            self._missing = _length_of(data)
        elif self._missing is not None:
            self._missing -= len(data)
        ends = data.endswith(_CHUNKS_END) if self._missing is None else self._missing <= 0
        if ends and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that is under way will not come to its end."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(WentWrong(f"the connection was lost: {exc!r}"))


def _length_of(first: bytes) -> int | None:
    """Return how many bytes are still missing after the first read; None where the answer comes in chunks."""
    head, _, content = first.partition(_HEAD_ENDS)
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value) - len(content)
    return None


def ask_all(door: Door, bodies: Sequence[Mapping[str, Any]], *, connections: int) -> list[Heard]:
    """Ask all of them over so many kept connections, each one after the other; return the answers in order of `bodies`."""
    return asyncio.run(_ask_all(door, [door.request(body) for body in bodies], connections))


async def _ask_all(door: Door, requests: list[bytes], connections: int) -> list[Heard]:
    callers = [await Caller.connect(door) for _ in range(connections)]
    answers: dict[int, Heard] = {}
    numbers = iter(range(len(requests)))

    async def work(caller: Caller) -> None:
        for number in numbers:
            answers[number] = await caller.ask(requests[number])

    try:
        await asyncio.gather(*(work(caller) for caller in callers))
    finally:
        for caller in callers:
            caller.close()
    return [answers[number] for number in range(len(requests))]


def require(holds: bool, otherwise: str) -> None:
    """Raise `WentWrong` where something does not hold: its figures would mean nothing."""
    if not holds:
        raise WentWrong(otherwise)
