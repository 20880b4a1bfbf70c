"""pytest-celery nodes as local processes, for machines without Docker: the same tests, the same API, our own pids."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from pathlib import Path
from typing import Any, ClassVar

from pytest_celery import CeleryWorkerContainer, RedisContainer

READY_S = 30.0
STOP_S = 15.0


class LocalProcess:
    """What pytest-celery asks of a container, answered by a process in a session of its own."""

    id = short_id = ""  # the wrapper has these as properties without setters
    attrs: ClassVar[dict[str, Any]] = {}

    def __init__(self, command: list[str], *, environment: dict[str, str], folder: Path) -> None:
        self.id = self.short_id = uuid.uuid4().hex
        self._command = command
        self._environment = environment
        self._log = folder / f"{self.id[:12]}.log"
        self._offset = 0
        self._spawn()

    @property
    def name(self) -> str:
        return f"local-{self.id[:12]}"

    @property
    def status(self) -> str:
        return "running" if self._process.poll() is None else "exited"

    def reload(self) -> None:
        """A process has nothing to look up again."""

    def logs(self, *_: Any, **__: Any) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ready(self, timeout: float = READY_S) -> bool:
        """Wait for the ready prompt of this start; an earlier start's does not count."""
        pause = threading.Event()
        for _ in range(int(timeout / 0.05)):
            if self.ready_prompt in self.logs()[self._offset :]:  # type: ignore[attr-defined]
                return True
            if self.status != "running":
                raise AssertionError(f"{self._command[0]} exited:\n{self.logs()[-2000:]}")
            pause.wait(0.05)
        raise AssertionError(f"{self._command[0]} was not ready in {timeout} s:\n{self.logs()[-2000:]}")

    def kill(self, signal: str | int = "SIGKILL") -> None:
        number = _number(signal)
        self._process.send_signal(number)
        if number == _number("SIGKILL"):
            self._process.wait(STOP_S)

    def restart(self, timeout: float = STOP_S) -> None:
        self._end(timeout)
        self._offset = len(self.logs())
        self._spawn()
        self.ready()

    def teardown(self) -> None:
        self._end(STOP_S)

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def _end(self, timeout: float) -> None:
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_S)


class LocalRedis(LocalProcess, RedisContainer):
    """A Valkey server of its own."""

    def __init__(self, command: list[str], *, port: int, folder: Path) -> None:
        self._port = port
        super().__init__(command, environment=dict(os.environ), folder=folder)

    @property
    def port(self) -> int:
        return self._port

    @property
    def hostname(self) -> str:
        return "127.0.0.1"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def host_url(self) -> str:
        return self.url


class LocalWorker(LocalProcess, CeleryWorkerContainer):
    """A worker of ours, started with the Procfile's own command line."""


def _number(name: str | int) -> int:
    return int(signal.Signals[name] if isinstance(name, str) else name)
