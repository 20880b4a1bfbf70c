"""Plain requests over kept connections, with as little in between as Python allows."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.crowd import at_once
from benchmarks.customer import WentWrong
from shared.kernel.clock import SystemClock

_SUCCESS = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """One answer, when its request was sent (Unix seconds), and how long both took, in seconds."""

    status: int
    content: bytes
    sent_at: float
    took_s: float

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that it holds. Raises `WentWrong` for an answer that is not one of success."""
        if self.status not in _SUCCESS:
            raise WentWrong(f"an answer of {self.status}: {self.content[:200]!r}")
        found: dict[str, Any] = json.loads(self.content)
        return found


class Line:
    """One kept connection to an HTTP server; one thread's own. A context manager."""

    def __init__(self, url: str, *, timeout_s: float = 10) -> None:
        address = urlsplit(url)
        self._clock = SystemClock()
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET."""
        return self._send("GET", path, None, headers or {})

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a POST of JSON."""
        return self._send("POST", path, json.dumps(body), {**_JSON, **(headers or {})})

    def _send(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        sent_at, began = self._clock.now().timestamp(), self._clock.monotonic()
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        content = answer.read()
        return Answer(answer.status, content, sent_at, self._clock.monotonic() - began)


def get_all(url: str, *, count: int, connections: int = 1, headers: Mapping[str, str] | None = None) -> list[float]:
    """Return how long each of `count` GETs took, in seconds. Raises `WentWrong` where one is not answered 200."""
    address = urlsplit(url)
    place = (address.path or "/") + (f"?{address.query}" if address.query else "")
    took: list[float] = []

    def ask(_thread: int, share: int) -> None:
        with Line(url) as line:
            for _ in range(share):
                answer = line.get(place, headers)
                took.append(answer.took_s)
                if answer.status != HTTPStatus.OK:
                    raise WentWrong(f"a GET was answered {answer.status}")

    at_once(ask, count, threads=connections)
    return took
