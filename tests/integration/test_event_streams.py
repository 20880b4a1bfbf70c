"""A stream to one caller: comments in its silences, an eye on its socket, and a server's stop that is nobody's going."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import closing

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from shared.kernel.clock import SystemClock
from shared.kernel.errors import Unavailable
from web.events import COMMENT, SILENCE_S, Connection, answer, server_stops


class HandClock(SystemClock):
    """A clock whose seconds a test counts."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Stage:
    """One caller's connection, the pieces sent to him, and whether he was noted as gone."""

    def __init__(self, ours: socket.socket, callers: socket.socket) -> None:
        self.callers = callers
        self.clock = HandClock()
        self.left = 0
        self.closed = False
        environ = EnvironBuilder().get_environ() | {"gunicorn.socket": ours}
        self.connection = Connection(Request(environ))

    def pieces(self, *given: bytes | None, every_s: float = 1.0) -> Generator[bytes | None]:
        try:
            for piece in given:
                self.clock.seconds += every_s
                yield piece
        finally:
            self.closed = True

    def sent(self, pieces: Generator[bytes | None]) -> Iterator[bytes]:
        response = answer(pieces, connection=self.connection, clock=self.clock, on_leave=self.leave)
        assert response.is_streamed
        assert isinstance(response.response, Iterator)
        return response.response

    def leave(self) -> None:
        assert self.closed, "the reader's place is given up first"
        self.left += 1


@pytest.fixture
def stage() -> Iterator[Stage]:
    ours, callers = socket.socketpair()
    with closing(ours), closing(callers):
        yield Stage(ours, callers)
    server_stops.clear()


def test_a_silence_is_broken_by_comments_that_are_no_events(stage: Stage) -> None:
    silence = [None] * int(2 * SILENCE_S)
    assert list(stage.sent(stage.pieces(b"one", *silence, b"two"))) == [b"one", COMMENT, COMMENT, b"two"]
    assert COMMENT.startswith(b":")
    assert (stage.left, stage.closed) == (0, True)


def test_a_caller_who_closes_is_noticed_in_the_next_pause(stage: Stage) -> None:
    stream = stage.sent(stage.pieces(b"one", None, None, b"two"))
    assert next(stream) == b"one"
    stage.callers.close()
    assert list(stream) == []
    assert (stage.left, stage.closed) == (1, True)


def test_a_caller_who_sends_on_is_there(stage: Stage) -> None:
    stage.callers.sendall(b"GET / HTTP/1.1\r\n")
    assert list(stage.sent(stage.pieces(b"one", None, b"two"))) == [b"one", b"two"]
    assert stage.callers.fileno() >= 0
    assert not stage.connection.is_gone()


def test_what_cannot_be_sent_is_a_leaving(stage: Stage) -> None:
    stream = stage.sent(stage.pieces(b"one", b"two"))
    next(stream)
    stream.close()  # type: ignore[attr-defined] # as the server does
    assert (stage.left, stage.closed) == (1, True)


def test_the_servers_own_stop_is_nobodys_leaving(stage: Stage) -> None:
    stream = stage.sent(stage.pieces(b"one", b"two"))
    next(stream)
    server_stops.set()
    stream.close()  # type: ignore[attr-defined]
    assert (stage.left, stage.closed) == (0, True)


def test_a_leaving_that_cannot_be_noted_ends_the_stream_all_the_same(stage: Stage) -> None:
    def note() -> None:
        raise Unavailable("the database does not answer")

    response = answer(
        stage.pieces(b"one", None, b"two"),
        connection=stage.connection,
        clock=stage.clock,
        on_leave=note,
    )
    stage.callers.close()
    assert b"".join(response.response) == b"one"  # type: ignore[arg-type]


def test_a_server_that_shows_no_socket_has_callers_who_stay() -> None:
    assert not Connection(Request(EnvironBuilder().get_environ())).is_gone()
