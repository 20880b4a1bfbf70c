"""The processes that submitted code runs in, seen from the process that starts them: one job in, lines out, always ended."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.sandbox.model import SandboxUnavailable

MOST_LINE = 256 * 1024
_PROJECT = Path(__file__).resolve().parents[2]
_LOOK_EVERY_S = 0.5
_READ = 64 * 1024
_MOST_COMPLAINT = 2_000


def child_environment(**more: str) -> dict[str, str]:
    """Return the whole environment of a process of the sandbox: where our own modules are, and nothing of the parent's."""
    return {"PYTHONPATH": str(_PROJECT), "LANG": "C.UTF-8", **more}


class Child:
    """One process in a session of its own. Leaving the `with` block kills its whole group, whatever state it is in.

    The job is read from standard input, a file without a name, so that no pipe can fill up. What the process says of its own failure
    goes to a second such file.
    """

    def __init__(self, command: Sequence[str], *, job: bytes, environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._job = job
        self._environment = dict(environment)

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        try:
            with tempfile.TemporaryFile() as job:
                job.write(self._job)
                job.seek(0)
                self._process = subprocess.Popen(  # noqa: S603
                    self._command,
                    stdin=job,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env=self._environment,
                    cwd="/",
                    start_new_session=True,
                    close_fds=True,
                )
        except OSError as error:
            self._errors.close()
            raise SandboxUnavailable(f"no process can be started for the sandbox: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        """The process's id, and its group's."""
        return self._process.pid

    def lines(self, *, deadline: float, check: Callable[[], None]) -> Iterator[bytes]:
        """Yield what the process writes, line by line, until it ends, `deadline` (monotonic) passes or a line is too long.

        `check` is called at least once a second; what it raises goes on. An unfinished last line is not given.
        """
        if self._process.stdout is None:
            return
        held = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                check()
                if not selector.select(min(left, _LOOK_EVERY_S)):
                    continue
                piece = os.read(self._process.stdout.fileno(), _READ)
                if not piece:
                    return
                *finished, held = (held + piece).split(b"\n")
                yield from finished
                if len(held) > MOST_LINE:
                    return

    def ended(self, *, within_s: float) -> int | None:
        """Return the exit code (negative: the signal), or None if the process still runs after `within_s`."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def complaint(self) -> str:
        """Return the end of what the process wrote on standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _MOST_COMPLAINT))
        return self._errors.read().decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """Kill the process and its group, and wait until the process is gone. Does nothing to one that has been waited for."""
        if self._process.returncode is not None:
            return
        # While the process has not been waited for, its id is nobody else's, and neither is its group's.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()
        self._process.wait()
