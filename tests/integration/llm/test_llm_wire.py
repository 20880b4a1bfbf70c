"""The model client against bytes that the simulated model would never send, and what it sends itself."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime

import pytest

from shared.kernel.clock import SystemClock
from shared.llm.clients.openai import Upstream
from shared.llm.model import (
    ChatMessage,
    Completion,
    UpstreamError,
    UpstreamGarbage,
    UpstreamInterrupted,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

MakeUpstream = Callable[..., Upstream]
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DELTA = b'data: {"choices": [{"index": 0, "delta": {"content": "four"}}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'


class ByteServer:
    """Answers each connection with the bytes it is given, then closes; `drip` is repeated until the client has gone."""

    def __init__(self) -> None:
        self.answer = b""
        self.drip = b""
        self.request = b""
        self.client_gone = threading.Event()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopped.is_set():
                    return
                self._answer_one(connection)

    def _answer_one(self, connection: socket.socket) -> None:
        self.request = connection.recv(65536)
        head, _, body = self.request.partition(b"\r\n\r\n")
        lengths = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        while lengths and len(body) < lengths[0]:
            body += connection.recv(65536)
        self.request = head + b"\r\n\r\n" + body
        try:
            connection.sendall(self.answer)
            while self.drip and not self._stopped.wait(0.02):
                connection.sendall(self.drip)
        except OSError:
            self.client_gone.set()

    def close(self) -> None:
        self._stopped.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(timeout=5)
        self._listener.close()


@pytest.fixture
def server() -> Iterator[ByteServer]:
    server = ByteServer()
    yield server
    server.close()


def complete(upstream: Upstream) -> Completion:
    return upstream.complete(model="m", messages=[ChatMessage("user", "hello")], max_tokens=10)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", UpstreamUnavailable),
        (b"this is not HTTP\r\n\r\n", UpstreamUnavailable),
        (b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", UpstreamRejected),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", UpstreamGarbage),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<p>captive</p>\n", UpstreamGarbage),
        (SSE, UpstreamGarbage),
        (SSE + b"data: [DONE]\n\n", UpstreamGarbage),
        (SSE + b"data: 17\n\n", UpstreamGarbage),
        (SSE + b"data: " + b"[" * 100_000 + b"\n\n", UpstreamGarbage),
        (SSE + b'data: {"choices": "none"}\n\n', UpstreamGarbage),
        (SSE + b"data: \xff\xfe\n\n", UpstreamGarbage),
        (SSE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + b"not gzip", UpstreamGarbage),
        (SSE + DELTA, UpstreamInterrupted),
        (SSE + DELTA + b"data: [DONE]\n\n", UpstreamInterrupted),
        (SSE + DELTA + b"data: {broken\n\n", UpstreamGarbage),
        (SSE + b'data: {"error": {"code": 400, "message": "context too long"}}\n\n', UpstreamRejected),
        (SSE + b'data: {"error": {"code": 429, "message": "busy"}}\n\n', UpstreamRateLimited),
        (SSE + b'data: {"error": "oops"}\n\n', UpstreamUnavailable),
    ],
)
def test_bytes_that_are_no_completion_end_in_a_typed_error(
    server: ByteServer, upstream_to: MakeUpstream, answer: bytes, error: type[UpstreamError]
) -> None:
    server.answer = answer
    with pytest.raises(UpstreamError) as caught:
        complete(upstream_to(server.base_url))
    assert type(caught.value) is error, caught.value.detail


@pytest.mark.parametrize(
    "tail", [b"", b"data: [DONE]\n\n", b"data: {broken\n\n", b'data: {"error": {"code": 500}}\n\n']
)
def test_a_finished_answer_survives_whatever_follows_it(
    server: ByteServer, upstream_to: MakeUpstream, tail: bytes
) -> None:
    server.answer = SSE + DELTA + END + tail
    completion = complete(upstream_to(server.base_url))
    assert (completion.text, completion.tokens_in, completion.tokens_out) == ("four", 2, 1)
    assert not completion.usage_reported


@pytest.mark.parametrize("drip", [b": ping\n\n", b'data: {"choices": []}\n\n'])
def test_a_first_token_deadline_holds_while_the_upstream_keeps_alive(
    server: ByteServer, upstream_to: MakeUpstream, drip: bytes
) -> None:
    server.answer, server.drip = SSE, drip
    with pytest.raises(UpstreamTimeout):
        complete(upstream_to(server.base_url, first_token_s=0.3))
    assert server.client_gone.wait(5)


def test_a_deadline_holds_while_headers_trickle(server: ByteServer, upstream_to: MakeUpstream) -> None:
    server.answer, server.drip = b"HTTP/1.1 200 OK\r\n", b"X-Filler: 1\r\n"
    with pytest.raises(UpstreamTimeout):
        complete(upstream_to(server.base_url, first_token_s=0.3))


def test_an_error_body_that_never_ends_is_cut_by_the_deadline(server: ByteServer, upstream_to: MakeUpstream) -> None:
    server.answer, server.drip = b"HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n", b"more "
    with pytest.raises(UpstreamError):
        complete(upstream_to(server.base_url, first_token_s=0.3))
    assert server.client_gone.wait(5)


def test_nothing_listening_is_unavailable(upstream_to: MakeUpstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UpstreamUnavailable) as caught:
        complete(upstream_to(f"http://127.0.0.1:{port}/v1"))
    assert (caught.value.code, caught.value.retryable) == ("CONNECTION", True)


def test_a_retry_date_is_read_as_seconds_from_now(server: ByteServer, upstream_to: MakeUpstream) -> None:
    at = format_datetime(SystemClock().now() + timedelta(seconds=30), usegmt=True).encode()
    server.answer = b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nRetry-After: " + at + b"\r\n\r\n"
    with pytest.raises(UpstreamRateLimited) as caught:
        complete(upstream_to(server.base_url))
    assert caught.value.retry_after_s is not None
    assert 20 <= caught.value.retry_after_s <= 30


@pytest.mark.parametrize("header", [b"", b"Retry-After: soon\r\n", b"Retry-After: -1\r\n"])
def test_a_retry_time_that_makes_no_sense_is_none(server: ByteServer, upstream_to: MakeUpstream, header: bytes) -> None:
    server.answer = b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n" + header + b"\r\n"
    with pytest.raises(UpstreamRateLimited) as caught:
        complete(upstream_to(server.base_url))
    assert caught.value.retry_after_s is None


def test_the_key_is_sent_and_never_repeated(server: ByteServer, upstream_to: MakeUpstream) -> None:
    server.answer = b"HTTP/1.1 401 No\r\nContent-Length: 27\r\n\r\nwrong key sk-secret-key-123"
    with pytest.raises(UpstreamRejected) as caught:
        complete(upstream_to(server.base_url, key="sk-secret-key-123"))
    assert b"authorization: bearer sk-secret-key-123" in server.request.lower()
    assert caught.value.detail == "HTTP 401: wrong key [key]"
    assert "key" not in caught.value.message


def test_a_request_always_streams_and_asks_for_usage(server: ByteServer, upstream_to: MakeUpstream) -> None:
    server.answer = SSE + DELTA + END
    complete(upstream_to(server.base_url, key=""))
    body = json.loads(server.request.partition(b"\r\n\r\n")[2])
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 10,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
