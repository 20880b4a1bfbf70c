"""An ear on what Celery's workers say of themselves: when a task's message was received, and when the task began."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from benchmarks import bare

_POLL_S = 0.5
_LATE_S = 1.5


class WorkerEvents:
    """Notes both moments (Unix seconds, by the worker's clock) of each task by the text of its arguments. A context manager."""

    def __init__(self) -> None:
        self.received_at: dict[str, float] = {}
        self.started_at: dict[str, float] = {}
        self._arguments: dict[str, str] = {}
        self._stop = threading.Event()
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, name="worker-events", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        self._listens.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.wait(_LATE_S)  # workers send their events in batches
        self._stop.set()
        self._reader.join()

    def _read(self) -> None:
        handlers = {"task-received": self._received, "task-started": self._started}
        with bare.app.connection_for_read() as connection:
            receiver = bare.app.events.Receiver(connection, handlers=handlers)
            with receiver.consumer_context() as (drained, _channel, _consumers):
                self._listens.set()
                while not self._stop.is_set():
                    try:
                        drained.drain_events(timeout=_POLL_S)
                    except TimeoutError:
                        continue

    def _received(self, event: dict[str, Any]) -> None:
        self._arguments[event["uuid"]] = event["args"]
        self.received_at[event["args"]] = event["timestamp"]

    def _started(self, event: dict[str, Any]) -> None:
        arguments = self._arguments.pop(event["uuid"], None)
        if arguments is not None:
            self.started_at[arguments] = event["timestamp"]
