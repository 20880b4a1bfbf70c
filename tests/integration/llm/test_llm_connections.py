"""A connection outlives its answer: what is read to its end can be used again, and what never ends is let go."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from shared.llm.clients.openai import Upstream
from shared.llm.model import ChatMessage

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = (
    b'data: {"choices": [{"index": 0, "delta": {"content": "four"}}]}\n\n'
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
LAST_CHUNK = b"0\r\n\r\n"
SOON_S = 2.0


class Model(socketserver.ThreadingTCPServer):
    """Streams the same answer to each request; `ends` says whether the body's last chunk follows it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.ends = True
        self.connections = 0


class _Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Model)
        self.server.connections += 1
        while self._read_request():
            self.wfile.write(HEAD + b"%x\r\n" % len(EVENTS) + EVENTS + b"\r\n")
            if self.server.ends:
                self.wfile.write(LAST_CHUNK)

    def _read_request(self) -> bool:
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return bool(line) and len(self.rfile.read(length)) == length


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def upstream(model: Model, upstream_to: Callable[..., Upstream]) -> Upstream:
    return upstream_to(f"http://127.0.0.1:{model.server_address[1]}/v1")


def _ask(upstream: Upstream) -> str:
    return upstream.complete(model="m", messages=[ChatMessage("user", "2 + 2?")], max_tokens=10).text


def test_calls_one_after_the_other_share_a_connection(upstream: Upstream, model: Model) -> None:
    assert [_ask(upstream) for _ in range(5)] == ["four"] * 5
    assert model.connections == 1


def test_an_answer_whose_bytes_never_end_is_not_waited_for(upstream: Upstream, model: Model) -> None:
    model.ends = False
    began = time.monotonic()
    assert [_ask(upstream) for _ in range(2)] == ["four"] * 2
    assert time.monotonic() - began < SOON_S
    assert model.connections == 2
