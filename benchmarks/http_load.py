"""Plain GETs over kept connections, with as little in between as Python allows."""

from __future__ import annotations

import http.client
from http import HTTPStatus
from urllib.parse import urlsplit

from benchmarks.crowd import at_once
from benchmarks.customer import WentWrong
from shared.kernel.clock import SystemClock


def get_all(url: str, *, count: int, connections: int = 1) -> list[float]:
    """Return how long each of `count` GETs took, in seconds. Raises `WentWrong` where one is not answered 200."""
    clock, address = SystemClock(), urlsplit(url)
    took: list[float] = []

    def ask(_thread: int, share: int) -> None:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        for _ in range(share):
            began = clock.monotonic()
            connection.request("GET", address.path or "/")
            answer = connection.getresponse()
            answer.read()
            took.append(clock.monotonic() - began)
            if answer.status != HTTPStatus.OK:
                raise WentWrong(f"a GET was answered {answer.status}")
        connection.close()

    at_once(ask, count, threads=connections)
    return took
