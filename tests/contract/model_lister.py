"""An upstream that lists what a test tells it to, over real HTTP, and keeps what it was asked with."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelLister:
    """`answer(status, body)` is what GET /v1/models gets; `shut` takes it off the network until `reopen`."""

    def __init__(self, *models: str, owner: str = "somebody") -> None:
        self.status = 200
        self.body = b""
        self.asked: list[tuple[str, str]] = []
        self._may_answer = threading.Event()
        self._may_answer.set()
        self.list(*models, owner=owner)
        self._server = self._serve(0)
        self.port: int = self._server.server_address[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def list(self, *models: str, owner: str = "somebody") -> None:
        """List these models."""
        entries: list[Any] = [{"id": name, "object": "model", "created": 1, "owned_by": owner} for name in models]
        self.answer(200, json.dumps({"object": "list", "data": entries}).encode())

    def answer(self, status: int, body: bytes = b"{}") -> None:
        self.status, self.body = status, body

    def hold(self) -> None:
        """Answer nobody until `release`."""
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def shut(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def reopen(self) -> None:
        self._server = self._serve(self.port)

    def _serve(self, port: int) -> ThreadingHTTPServer:
        lister = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lister.asked.append((self.path, self.headers.get("Authorization", "")))
                lister._may_answer.wait(30)
                with contextlib.suppress(OSError):
                    self._answer()

            def _answer(self) -> None:
                self.send_response(lister.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(lister.body)))
                self.end_headers()
                self.wfile.write(lister.body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server
