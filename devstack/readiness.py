"""Wait for processes to answer, and give up early on one that keeps dying."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Mapping

from devstack.faults import StackFault
from devstack.process import Process

_POLL_S = 0.05


def await_all(checks: Mapping[Process, Callable[[], bool]], *, timeout_s: float) -> None:
    """Return once every check holds. Raises `StartFailed` naming the process that died repeatedly or stayed silent."""
    deadline = time.monotonic() + timeout_s
    waiting = dict(checks)
    while True:
        waiting = {process: holds for process, holds in waiting.items() if not holds()}
        if not waiting:
            return
        for process in waiting:
            process.require_steady()
        if time.monotonic() >= deadline:
            raise next(iter(waiting)).failure(f"was not ready within {timeout_s:.0f} s")
        time.sleep(_POLL_S)


def await_http(port: int, path: str, *, alive: Iterable[Process], timeout_s: float, accept_any: bool = False) -> None:
    """Return once GET http://127.0.0.1:`port``path` answers 200 (or anything, with `accept_any`).

    Raises `StartFailed` if one of `alive` keeps dying meanwhile, `StackFault` with the last answer at the deadline.
    """
    deadline = time.monotonic() + timeout_s
    watched = tuple(alive)
    while True:
        status, body = _get(port, path)
        if status == http.HTTPStatus.OK or (accept_any and status):
            return
        for process in watched:
            process.require_steady()
        if time.monotonic() >= deadline:
            answer = f"{status} {body[:600]}" if status else "no answer"
            raise StackFault(f"{path} was not 200 within {timeout_s:.0f} s", f"its last answer: {answer}")
        time.sleep(_POLL_S * 2)


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
