"""Many callers of streams at once, in one thread: they note what comes, and read it only afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.event_stream import Event, parsed

PATIENCE_S = 240.0
TRIES = 10


@dataclass(frozen=True)
class Heard:
    """One caller's answer: its status and body, when its first and its last byte came (seconds, of one clock), how often he was refused."""

    status: int
    body: bytes
    first_at: float
    last_at: float
    refused: int

    @property
    def events(self) -> list[Event]:
        """Return its events."""
        assert self.status == HTTPStatus.OK, self.body
        return list(parsed([self.body]))


def listen(url: str, key: str, bodies: Sequence[Mapping[str, Any]]) -> list[Heard]:
    """Ask for all of them at the same moment; return the answers in order. Who is told to come later does, as the official clients do."""
    return asyncio.run(_listen(url, key, bodies))


def most_at_once(heard: Sequence[Heard]) -> int:
    """Return how many streams were under way at the same time, at the best moment."""
    moves = sorted([(one.first_at, 1) for one in heard] + [(one.last_at, -1) for one in heard])
    best = now = 0
    for _, step in moves:
        now += step
        best = max(best, now)
    return best


async def _listen(url: str, key: str, bodies: Sequence[Mapping[str, Any]]) -> list[Heard]:
    callers = [_ask(url, key, json.dumps(body).encode()) for body in bodies]
    return list(await asyncio.wait_for(asyncio.gather(*callers), PATIENCE_S))


async def _ask(url: str, key: str, body: bytes) -> Heard:
    for refused in range(TRIES):
        heard, retry_after_s = await _try(url, key, body, refused)
        if retry_after_s is None:
            return heard
        await asyncio.sleep(retry_after_s)
    return heard


async def _try(url: str, key: str, body: bytes, refused: int) -> tuple[Heard, float | None]:
    """Send one request as HTTP/1.0, whose answer is plain and ends with its connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST {address.path} HTTP/1.0\r\nHost: {address.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answered = await reader.readuntil(b"\r\n\r\n")
    first_at, reads = monotonic(), []
    while piece := await reader.read(65536):
        reads.append(piece)
    writer.close()
    lines = answered.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    heard = Heard(int(lines[0].split()[1]), b"".join(reads), first_at, monotonic(), refused)
    return heard, float(headers["retry-after"]) if "retry-after" in headers else None
