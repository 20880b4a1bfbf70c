"""How gunicorn speaks when a request never reaches the application: JSON to the caller, JSON to the log.

Imported in the master before anything is patched, so it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

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


class JsonWorker(GeventWorker):  # type: ignore[misc] # gunicorn ships no types
    """A gevent worker that answers what it cannot parse without HTML and without repeating it."""

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
