"""A platform that knows the Procfile and environment variables, and nothing of the embedded stack: Heroku in small."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devstack.parts import ROOT
from devstack.procfile import RELEASE, read_procfile

GRACE_S = 30.0
DEVSTACK_ONLY = ("LUCID_HOME", "LUCID_LLM", "LUCID_MODEL", "LUCID_CACHE")


class Platform:
    """Runs each line of the Procfile in a session of its own, with only these variables, and signals whole groups."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.lines = read_procfile(ROOT / "Procfile")
        self.environment = {name: value for name, value in environment.items() if name not in DEVSTACK_ONLY}
        self.environment["LUCID_ENV"] = "production"
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def release(self) -> subprocess.CompletedProcess[str]:
        """Run the release line to its end."""
        command = ["sh", "-c", self.lines[RELEASE]]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60)

    def start(self, *names: str) -> None:
        """Start these lines, all but the release if none is named."""
        for name in names or [name for name in self.lines if name != RELEASE]:
            with (self._logs / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    ["sh", "-c", self.lines[name]],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM whole groups, as the platform does, wait out the grace, then SIGKILL; return the exit codes."""
        chosen = {name: self._running.pop(name) for name in names or list(self._running)}
        for process in chosen.values():
            _signal_group(process, signal.SIGTERM)
        codes = {}
        for name, process in chosen.items():
            try:
                codes[name] = process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                codes[name] = process.wait(GRACE_S)
        return codes

    def has_ended(self, name: str) -> bool:
        """Tell whether a started process has ended by itself."""
        return self._running[name].poll() is not None

    def log(self, name: str) -> str:
        """Return what a process wrote."""
        return (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_platform(environment: Mapping[str, str], logs: Path) -> Iterator[Platform]:
    """Offer a platform; whatever it runs at the end is stopped."""
    platform = Platform(environment, logs)
    try:
        yield platform
    finally:
        platform.stop()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        process.poll()
