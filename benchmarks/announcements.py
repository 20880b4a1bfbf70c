"""An ear on the product's events channel: when was which owner's move announced? Nobody has to ask the service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from shared.events.client import CHANNEL, connect
from shared.kernel.clock import SystemClock

_POLL_S = 0.5


class Announcements:
    """Notes the time (Unix seconds) at which each announcement arrives here. A context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clock = SystemClock()
        self._heard: dict[str, SimpleQueue[float]] = {}
        self._stop = threading.Event()
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, name="announcements", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        if not self._listens.wait(10):
            raise TimeoutError("the events channel cannot be heard")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._reader.join()

    def of_job(self, row_id: int) -> AbstractContextManager[SimpleQueue[float]]:
        """Yield the arrivals of one job's announcements from now on."""
        return self._of(f"job:{row_id}")

    def of_session(self, row_id: int) -> AbstractContextManager[SimpleQueue[float]]:
        """Yield the arrivals of one session's announcements from now on."""
        return self._of(f"session:{row_id}")

    @contextmanager
    def _of(self, name: str) -> Iterator[SimpleQueue[float]]:
        arrivals: SimpleQueue[float] = SimpleQueue()
        self._heard[name] = arrivals
        try:
            yield arrivals
        finally:
            del self._heard[name]

    def _read(self) -> None:
        client = connect(self._url)
        with client.pubsub(ignore_subscribe_messages=False) as subscription:  # type: ignore[no-untyped-call] # redis-py
            subscription.subscribe(CHANNEL)
            while not self._stop.is_set():
                message = subscription.get_message(timeout=_POLL_S)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self._listens.set()
                    continue
                arrived_at = self._clock.now().timestamp()
                arrivals = self._heard.get(message["data"].decode())
                if arrivals is not None:
                    arrivals.put(arrived_at)
        client.close()
