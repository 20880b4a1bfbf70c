"""A wire that can be cut: a TCP proxy before a store, which can make its connections half-open or reset them."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


class Wire:
    """Listens on 127.0.0.1:`port` and hands on to 127.0.0.1:`target`. A context manager; safe to use from other threads."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"wire-{target}", daemon=True)
        self._open: set[_Link] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def swallow(self) -> int:
        """Let every present connection take bytes and deliver none, for ever; new ones are whole. Return how many it met."""
        return int(self._call(self._swallow()))

    def reset(self) -> int:
        """Reset every present connection, both ends; return how many it met."""
        return int(self._call(self._reset()))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._listener))
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, int]) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _abort(writer)
            return
        link = _Link(writer, far_writer)
        self._open.add(link)
        near = asyncio.ensure_future(link.pump(reader, far_writer))
        far = asyncio.ensure_future(link.pump(far_reader, writer))
        try:
            await asyncio.wait({near, far}, return_when=asyncio.FIRST_COMPLETED)
            if link.is_deaf:
                await near  # that the store hung up must not be heard
        finally:
            near.cancel()
            far.cancel()
            await asyncio.gather(near, far, return_exceptions=True)
            self._open.discard(link)
            link.abort()

    async def _swallow(self) -> int:
        for link in self._open:
            link.is_deaf = True
        return len(self._open)

    async def _reset(self) -> int:
        met = list(self._open)
        for link in met:
            link.abort()
        return len(met)

    async def _close(self) -> int:
        self._server.close()
        met = await self._reset()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if others:
            await asyncio.wait(others, timeout=5)
        return met


class _Link:
    """One connection through the wire."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._ends = (near, far)
        self.is_deaf = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if not self.is_deaf:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            return

    def abort(self) -> None:
        """Reset both ends."""
        for end in self._ends:
            _abort(end)


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
