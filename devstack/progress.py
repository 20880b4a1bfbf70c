"""Progress of anything longer than two seconds: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

LINE_EVERY_S = 4.0
_MIB = 1024 * 1024


class Progress:
    """Shows how many bytes of `total` are done. Use as a context manager; call `update` as often as you like."""

    def __init__(self, title: str, total: int, *, stream: TextIO | None = None) -> None:
        self._title = title
        self._total = total
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._next_line_at = time.monotonic() + LINE_EVERY_S

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._open_bar()
        else:
            self._line(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int) -> None:
        """Say that `done` bytes are done by now."""
        done = min(done, self._total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() >= self._next_line_at:
            self._line(done)

    def _open_bar(self) -> None:
        from rich import progress as rich_progress
        from rich.console import Console

        self._bar = rich_progress.Progress(
            "{task.description}",
            rich_progress.BarColumn(),
            rich_progress.DownloadColumn(),
            rich_progress.TimeRemainingColumn(),
            console=Console(file=self._stream),
        )
        self._task = self._bar.add_task(self._title, total=self._total)
        self._bar.start()

    def _line(self, done: int) -> None:
        self._next_line_at = time.monotonic() + LINE_EVERY_S
        print(f"{self._title}: {done // _MIB} of {self._total // _MIB} MiB", file=self._stream, flush=True)
