"""How gunicorn speaks when a request never reaches the application: JSON to the caller, JSON to the log.

Imported in the master before anything is patched, so it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic
from typing import Any, NoReturn

import gevent
from gunicorn.http import errors
from gunicorn.http.body import LengthReader
from gunicorn.workers.ggevent import GeventWorker

_STATUS_OF = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
}
_NEWEST_VERSION = (1, 1)
_SEND_S = 2.0
_LAST_REQUEST_S = 0.1
_BODY_S = 60.0
"""A body arrives whole within this, or the request is refused: whoever sends a byte now and then holds no place for long."""
_LEAVE_S = 2.0
"""How long we read on where a connection ends with bytes of the caller's unread: closing at once would reset it, and the reset can
overtake our answer (RFC 9112, 9.6)."""


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
        from web.events import server_stops  # a worker has it loaded already; the master must not

        server_stops.set()
        super().handle_exit(sig, frame)
        for waiting, greenlet in list(self._idle.items()):
            gevent.kill(greenlet, waiting, block=False)

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: Any) -> None:
        """Serve one request; end the connection where its body cannot be read to the end, since the next one's start is unknown."""
        for name, value in req.headers:
            if name == "TRANSFER-ENCODING" and value.lower() != "chunked":
                raise errors.UnsupportedTransferCoding(value)  # gunicorn lets gzip by, and would hand it on as it is
        req.version = min(req.version, _NEWEST_VERSION)  # the answer names it: a caller's HTTP/1.9 is not ours
        body = req.body = ArrivingBody(req, seconds=_BODY_S)
        try:
            super().handle_request(listener_name, req, sock, addr)
        except StopIteration:
            self._leave(sock)
            raise
        if not body.discard(seconds=_LEAVE_S):
            self._leave(sock)
            raise StopIteration

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Answer a request that is not HTTP, or not the HTTP we accept."""
        request_id = secrets.token_hex(8)
        self.log.warning("a request could not be served: %s, request id %s", type(exc).__name__, request_id)
        with contextlib.suppress(OSError):
            client.settimeout(_SEND_S)
            client.sendall(plain_answer(refusal_of(exc), request_id=request_id))
            self._leave(client)

    def _leave(self, client: socket.socket) -> None:
        """Say that we are done, and take what still comes until the caller is done too."""
        with contextlib.suppress(OSError), gevent.Timeout(_LEAVE_S if self.alive else _LAST_REQUEST_S, exception=False):
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass


class ArrivingBody:
    """The body of one request as the application reads it: in time, well formed and as long as announced, or it is a 4xx.

    Without it a malformed chunk would be a fault of ours, and a body that breaks off would pass for a shorter one.
    """

    def __init__(self, req: Any, *, seconds: float) -> None:
        self._req = req
        self._body = req.body
        self._missing = req.body.reader.length if isinstance(req.body.reader, LengthReader) else 0
        self._until = monotonic() + seconds
        self.failed = False

    def read(self, size: int | None = None) -> bytes:
        """Return up to `size` bytes, all of them where it is None. Raises werkzeug's HTTP errors."""
        try:
            with gevent.Timeout(max(self._until - monotonic(), 0.001), TimeoutError):
                content: bytes = self._body.read(size)
        except TimeoutError:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        except (errors.ParseException, OSError) as error:
            self._refuse(refusal_of(error) if isinstance(error, errors.ParseException) else HTTPStatus.BAD_REQUEST)
        self._missing -= len(content)
        if self._missing > 0 and (size is None or len(content) < size):
            self._refuse(HTTPStatus.BAD_REQUEST)
        return content

    def discard(self, *, seconds: float) -> bool:
        """Read what the application left unread; tell whether the body came to its end."""
        from werkzeug.exceptions import HTTPException

        self._until = min(self._until, monotonic() + seconds)
        with contextlib.suppress(HTTPException):
            while not self.failed and self.read(65536):
                pass
        return not self.failed

    def _refuse(self, status: HTTPStatus) -> NoReturn:
        from werkzeug.exceptions import abort  # the master imports this module, and needs none of it

        self.failed = True
        self._req.force_close()
        abort(status)


def refusal_of(error: BaseException) -> HTTPStatus:
    """Return the status for a request that never reached the application."""
    for kind, status in _STATUS_OF.items():
        if isinstance(error, kind):
            return status
    return HTTPStatus.BAD_REQUEST if isinstance(error, errors.ParseException) else HTTPStatus.INTERNAL_SERVER_ERROR


def plain_answer(status: HTTPStatus, *, request_id: str) -> bytes:
    """Return a whole HTTP response in the gateway's error shape, which is the agent's too: both have `error` as text."""
    from web.problems import HTTP_FAULTS, INTERNAL  # a worker has it loaded already; the master must not

    code, message = HTTP_FAULTS.get(status, INTERNAL)
    code = code.upper()
    shown = {"success": False, "error": code, "message": message, "error_code": code, "request_id": request_id}
    body = json.dumps(shown).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {request_id}\r\nCache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
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
