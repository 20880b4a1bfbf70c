"""How gunicorn speaks when a request never reaches the application: JSON to the caller, JSON to the log.

Imported in the master before anything is patched, so it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import gevent
from gunicorn.http import errors
from gunicorn.workers.ggevent import GeventWorker

_STATUS_OF = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
}
_SEND_S = 2.0
_LAST_REQUEST_S = 0.1


class JsonWorker(GeventWorker):  # type: ignore[misc] # gunicorn ships no types
    """A gevent worker that answers what it cannot parse without HTML, and whose stop waits for requests, not for connections."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._idle: dict[gevent.Timeout, gevent.Greenlet] = {}

    @contextlib.contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Bound the wait for a connection's next request; the stop ends that wait at once."""
        with gevent.Timeout(self.cfg.keepalive if self.alive else _LAST_REQUEST_S, exception=False) as waiting:
            self._idle[waiting] = gevent.getcurrent()
            try:
                yield
            finally:
                del self._idle[waiting]

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop accepting, let requests end, let idle connections go."""
        super().handle_exit(sig, frame)
        for waiting, greenlet in list(self._idle.items()):
            gevent.kill(greenlet, waiting, block=False)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Answer a request that is not HTTP, or not the HTTP we accept."""
        status = refusal_of(exc)
        self.log.warning("a request could not be served: %s", type(exc).__name__)
        with contextlib.suppress(OSError):
            client.settimeout(_SEND_S)
            client.sendall(plain_answer(status))


def refusal_of(error: BaseException) -> HTTPStatus:
    """Return the status for a request that never reached the application."""
    for kind, status in _STATUS_OF.items():
        if isinstance(error, kind):
            return status
    return HTTPStatus.BAD_REQUEST if isinstance(error, errors.ParseException) else HTTPStatus.INTERNAL_SERVER_ERROR


def plain_answer(status: HTTPStatus) -> bytes:
    """Return a whole HTTP response in the gateway's error shape."""
    code = status.name
    message = "the request is not valid HTTP here" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "it went wrong"
    body = json.dumps({"success": False, "error": code, "message": message, "error_code": code}).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class JsonLine(logging.Formatter):
    """gunicorn's own lines, as one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "role": "web",
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)
