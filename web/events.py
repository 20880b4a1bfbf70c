"""Server-sent events (WHATWG HTML, 9.2): out as they come, and comments while nothing comes.

A caller who goes is noticed while the stream is silent too: his socket is looked at in every pause. The server's own stop is
nobody's going: whoever was cut off by it comes back with Last-Event-ID.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Generator, Iterator

import structlog
from flask import Request, Response, request

from shared.kernel.clock import Clock
from shared.kernel.errors import InvalidInput, LucidError
from web.door import GREATEST_INTEGER

log = structlog.get_logger(__name__)

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
MEDIA_TYPE = "text/event-stream"
SILENCE_S = 15.0
COMMENT = b": still here\n\n"
DONE = b"data: [DONE]\n\n"
"""What a stream of ours ends in where it does not end in an error, as OpenAI's do."""
RESUMES_AFTER = "Last-Event-ID"
GONE = 499
"""The status, seen only in our log and figures, of an answer for which nobody waited any more."""

server_stops = threading.Event()
"""Set when this process was told to stop."""


class Connection:
    """The socket of a request, where the server shows it."""

    def __init__(self, request: Request) -> None:
        self._socket: socket.socket | None = request.environ.get("gunicorn.socket")

    def is_gone(self) -> bool:
        """Tell whether the caller has closed. One who sent on instead counts as there."""
        if self._socket is None:
            return False
        patience_s = self._socket.gettimeout()
        try:
            self._socket.settimeout(0)
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self._socket.settimeout(patience_s)


def resumed_after() -> int:
    """Return the number of the last event that this request's caller has seen, 0 for none. Raises `InvalidInput`."""
    given = request.headers.get(RESUMES_AFTER, "").strip()
    if not given:
        return 0
    if not (given.isascii() and given.isdigit()) or len(given) > len(str(GREATEST_INTEGER)):
        raise InvalidInput("the id of an event is a whole number", field=RESUMES_AFTER)
    return int(given)


def named(name: str, seq: int, text: str) -> bytes:
    """Return one event with a name and a number; `text` is JSON in one line."""
    return f"id: {seq}\nevent: {name}\ndata: {text}\n\n".encode()


def answer(
    pieces: Generator[bytes | None], *, connection: Connection, clock: Clock, on_leave: Callable[[], None]
) -> Response:
    """Return the response that sends `pieces`, which yields None after each second or so without news.

    `on_leave` is called, once, where the caller goes before the end, with `pieces` closed by then.
    """
    sent = _sent(pieces, connection=connection, clock=clock, on_leave=on_leave)
    return Response(sent, mimetype=MEDIA_TYPE, headers=HEADERS)


def _sent(
    pieces: Generator[bytes | None], *, connection: Connection, clock: Clock, on_leave: Callable[[], None]
) -> Iterator[bytes]:
    spoke_at = clock.monotonic()
    try:
        for piece in pieces:
            if piece is not None:
                spoke_at = clock.monotonic()
                yield piece
            elif connection.is_gone():
                _leave(pieces, on_leave)
                return
            elif clock.monotonic() - spoke_at >= SILENCE_S:
                spoke_at = clock.monotonic()
                yield COMMENT
    except GeneratorExit:  # the server could not send, or ends
        _leave(pieces, on_leave)
        raise
    finally:
        pieces.close()


def _leave(pieces: Generator[bytes | None], on_leave: Callable[[], None]) -> None:
    pieces.close()
    if server_stops.is_set():
        return
    try:
        on_leave()
    except LucidError as error:  # its run goes on to its end
        log.warning("leaving_not_noted", error=type(error).__name__)
