"""HTTP over a bare socket: what a client library would refuse to send, and every byte that comes back."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

PATIENCE_S = 30.0
NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Reply:
    """One answer. Header names are lower case; a header that came twice is joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Return the content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """Return the body as JSON values."""
        return json.loads(self.body)


class Wire:
    """One connection to `url`, which sends whatever it is given."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file: BinaryIO = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        self._socket.close()

    def send(self, content: bytes) -> None:
        """Send `content`."""
        self._socket.sendall(content)

    def end(self) -> None:
        """Say that nothing more comes; answers can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reply(self, method: str = "") -> Reply | None:
        """Return the next final answer; None where the server closed the connection instead, in good order."""
        while (first := self._file.readline()) and first.startswith(b"HTTP/1.1 1"):
            self._headers()
        if not first:
            return None
        version, status = first.split(b" ", 2)[:2]
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), first
        headers = self._headers()
        has_body = method != "HEAD" and int(status) not in NO_BODY
        return Reply(int(status), headers, self._body(headers) if has_body else b"")

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while line := self._file.readline().rstrip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            key = name.lower()
            found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
        return found

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(iter(self._chunk, b""))
        if "content-length" in headers:
            return self._file.read(int(headers["content-length"]))
        return self._file.read()

    def _chunk(self) -> bytes:
        size = int(self._file.readline(), 16)
        content = self._file.read(size)
        self._file.readline()
        return content
