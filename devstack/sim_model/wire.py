"""Just enough HTTP/1.1 over asyncio streams: requests in, plain or chunked responses out, and an eye on the client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_MAX_HEAD = 64 * 1024
_MAX_BODY = 16 * 1024 * 1024


class ClientGone(Exception):
    """The client closed the connection, or broke off."""


class Malformed(Exception):
    """What arrived is not an HTTP/1.1 request that is understood here."""


class WatchedReader(asyncio.StreamReader):
    """A reader that says when the client has gone, without reading: a sleeping answer wakes up for it."""

    def __init__(self) -> None:
        super().__init__(limit=_MAX_HEAD)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        """Note the end of the client's bytes."""
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: BaseException | type[BaseException]) -> None:
        """Note a broken connection."""
        super().set_exception(exc)  # type: ignore[arg-type]  # the stub narrows what the base class takes
        self.gone.set()


@dataclass(frozen=True)
class Request:
    """One request; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: WatchedReader, writer: asyncio.StreamWriter) -> Request | None:
    """Read the next request; None when the client is done. Raises `Malformed` and `ClientGone`."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError as error:
        raise Malformed("the head is too long") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines if line)
        }
        length = int(headers.get("content-length", "0"))
        parts = urlsplit(target)
    except ValueError as error:
        raise Malformed("the head is malformed") from error
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _read_body(reader, headers, length)
    return Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)


async def _read_body(reader: WatchedReader, headers: Mapping[str, str], length: int) -> bytes:
    if not 0 <= length <= _MAX_BODY:
        raise Malformed("the body is too long")
    try:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await reader.readexactly(length)
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
            if len(body) > _MAX_BODY:
                raise Malformed("the body is too long")
        await reader.readline()
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ClientGone from error
    except ValueError as error:
        raise Malformed("the body is malformed") from error
    return body


class Exchange:
    """One response on a connection. Every wait ends with `ClientGone` when the client has gone."""

    def __init__(self, reader: WatchedReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._packer: Any = None
        self.reusable = True

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reader.gone.wait(), seconds)
        if self._reader.gone.is_set():
            raise ClientGone

    async def hang(self) -> None:
        """Say nothing until the client goes."""
        await self._reader.gone.wait()
        raise ClientGone

    def abort(self) -> None:
        """Reset the connection."""
        self.reusable = False
        self._writer.transport.abort()

    async def send_json(self, status: int, payload: Any, *, headers: Mapping[str, str] | None = None) -> None:
        """Send `payload` as a whole response."""
        await self.send_bytes(status, json.dumps(payload).encode(), headers=headers)

    async def send_bytes(
        self, status: int, body: bytes, *, headers: Mapping[str, str] | None = None, cut_short: bool = False
    ) -> None:
        """Send a whole response as application/json; with `cut_short`, half of the body and a reset."""
        extra = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        self._head(status, extra)
        self._writer.write(body[: len(body) // 2] if cut_short else body)
        await self._drain()
        if cut_short:
            self.abort()

    async def start_events(self, *, gzip: bool) -> None:
        """Begin a stream of server-sent events."""
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "Transfer-Encoding": "chunked",
        }
        if gzip:
            headers["Content-Encoding"] = "gzip"
            self._packer = zlib.compressobj(wbits=31)
        self._head(200, headers)
        await self._drain()

    async def send_event(self, data: str) -> None:
        """Send one `data:` event, at once."""
        body = f"data: {data}\n\n".encode()
        if self._packer is not None:
            body = self._packer.compress(body) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._chunk(body)
        await self._drain()

    async def end_events(self) -> None:
        """End the stream in good form."""
        if self._packer is not None:
            self._chunk(self._packer.flush())
        self._writer.write(b"0\r\n\r\n")
        await self._drain()

    def _chunk(self, body: bytes) -> None:
        self._writer.write(b"%x\r\n%s\r\n" % (len(body), body))

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Simulated"
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def _drain(self) -> None:
        if self._reader.gone.is_set():
            raise ClientGone
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ClientGone from error
