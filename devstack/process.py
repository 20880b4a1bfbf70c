"""One supervised child: started in a session of its own, logged to a file, started again when it dies."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.faults import StackFault, StartFailed
from devstack.leftovers import Roll
from devstack.procfs import has_group, signal_group

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0
STEADY_AFTER_S = 10.0
START_ATTEMPTS = 4
_LOG_BYTES = 20 * 1024**2
_TAIL_BYTES = 4000
_GONE_S = 2.0


@dataclass(frozen=True)
class Command:
    """What to run, where it logs, and how it likes to be stopped (`stop_signal`, to the child itself).

    `said` receives the standard output of a program that announces itself there (its ready line may hold secrets, and a log
    must not); without it the log gets both streams.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stdin: int = subprocess.DEVNULL
    said: Path | None = None


class Process:
    """Keeps one command running from `start` to `stop`. Safe to use from several threads."""

    def __init__(self, command: Command, *, roll: Roll, on_event: Callable[[str], None]) -> None:
        self.name = command.name
        self._command = command
        self._roll = roll
        self._on_event = on_event
        self._changed = threading.Condition()
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._wanted = False
        self._births = 0
        self._births_before = 0
        self._failed_births = 0
        self._fault: Exception | None = None

    @property
    def pid(self) -> int | None:
        """The running child's process id, which is also its process group's and session's. None while it is down."""
        child = self._child
        return child.pid if child is not None else None

    @property
    def births(self) -> int:
        """How many times it was started so far."""
        return self._births

    def start(self) -> None:
        """Start it and keep it running. Returns once a child exists; does nothing if it is kept running already."""
        with self._changed:
            if self._wanted:
                return
            previous = self._keeper
        if previous is not None:
            previous.join()
        with self._changed:
            self._wanted = True
            self._failed_births = 0
            self._fault = None
            self._births_before = self._births
            self._keeper = threading.Thread(target=self._keep, name=f"keep-{self.name}", daemon=True)
            self._keeper.start()
            self._changed.wait_for(lambda: self._births > self._births_before or self._fault is not None)
        if self._births == self._births_before:
            raise StackFault(f"{self.name} cannot be started: {self._fault}")

    def ask_to_stop(self) -> None:
        """Send the stop signal and start it no more; `finish` waits for the end."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
            self._signal(self._command.stop_signal)

    def await_end(self, timeout_s: float) -> bool:
        """Wait for a child that was asked to stop; tell whether it is gone."""
        with self._changed:
            return self._changed.wait_for(lambda: self._child is None, timeout=max(timeout_s, 0))

    def finish(self, grace_s: float) -> bool:
        """Wait `grace_s` for a child that was asked to stop, then SIGKILL its group. True: it ended by itself."""
        with self._changed:
            willing = self._changed.wait_for(lambda: self._child is None, timeout=max(grace_s, 0))
            if not willing and self._child is not None:
                signal_group(self._child.pid, signal.SIGKILL)
            self._changed.wait_for(lambda: self._child is None)
        thread = self._keeper
        if thread is not None:
            thread.join()
        return willing

    def stop(self, *, keep_down: bool = True, grace_s: float = 20.0) -> None:
        """Stop it, and keep it down until `start` (or, with `keep_down=False`, start it again at once)."""
        self.ask_to_stop()
        self.finish(grace_s)
        if not keep_down:
            self.start()

    def restart(self, *, grace_s: float = 20.0) -> None:
        """Stop it in its own way and start it again."""
        self.stop(keep_down=False, grace_s=grace_s)

    def kill(self) -> None:
        """SIGKILL the child as a crash would, and return when it is gone. It is started again like after any crash."""
        with self._changed:
            victim = self._child
            if victim is None:
                return
            self._signal(signal.SIGKILL)
            self._changed.wait_for(lambda: self._child is not victim)

    def await_running(self, *, other_than: int | None = None, timeout_s: float = 10.0) -> int:
        """Wait for a child (with another pid than `other_than`) and answer its pid."""
        with self._changed:
            self._changed.wait_for(lambda: self.pid not in {None, other_than}, timeout=timeout_s)
            if self.pid in {None, other_than}:
                raise self.failure("did not come back")
            return self.pid

    def log(self) -> str:
        """Answer all that it wrote (both streams), its earlier lives in this file included."""
        return _text(self._command.log)

    def ready_line(self) -> dict[str, Any] | None:
        """Answer the JSON object with `"ready": true` that the present child printed, or None if it has not yet."""
        for line in _text(self._command.said or self._command.log).splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                with contextlib.suppress(ValueError):
                    announced = json.loads(line)
                    if announced.get("ready") is True:
                        return dict(announced)
        return None

    def require_steady(self) -> None:
        """Raise `StartFailed` if it keeps dying young."""
        if self._failed_births >= START_ATTEMPTS:
            raise self.failure("keeps ending right after its start")

    def failure(self, what: str) -> StartFailed:
        """Build the fault that names this process and quotes the end of its log."""
        return failure(self._command, what)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _keep(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            started = time.monotonic()
            child = self._give_birth()
            ending = self._outlive(child) if child is not None else "cannot be started"
            with self._changed:
                if not self._wanted:
                    return
            steady = time.monotonic() - started >= STEADY_AFTER_S
            backoff_s = FIRST_BACKOFF_S if steady else backoff_s
            self._failed_births = 0 if steady else self._failed_births + 1
            self._on_event(f"{self.name}: {ending}; starting it again in {backoff_s:.1f} s")
            with self._changed:
                if self._changed.wait_for(lambda: not self._wanted, timeout=backoff_s):
                    return
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    def _give_birth(self) -> subprocess.Popen[bytes] | None:
        """Start a child, unless it is wanted no more. The lock is held, so a stop cannot slip in between.

        The first birth of a `start` that fails is the caller's to hear of; a later one is tried again.
        """
        with self._changed:
            if not self._wanted:
                return None
            try:
                self._child = _spawn(self._command)
            except (OSError, ValueError) as fault:
                self._wanted = self._births > self._births_before
                self._fault = fault
            else:
                self._births += 1
                self._roll.enter(self.name, self._child.pid, self._command.stop_signal)
            self._changed.notify_all()
            return self._child

    def _outlive(self, child: subprocess.Popen[bytes]) -> str:
        """Wait for the child's end, clear up after it and answer how it ended."""
        code = child.wait()
        _end_group(child.pid)
        self._roll.strike(child.pid)
        with self._changed:
            self._child = None
            self._changed.notify_all()
        return _ending(code)


def failure(command: Command, what: str) -> StartFailed:
    """Build the fault that names a command and quotes the end of its log."""
    lines = _text(command.log)[-_TAIL_BYTES:].strip().splitlines()[-15:]
    return StartFailed(f"{command.name} {what}", log=str(command.log), log_tail="\n".join(lines))


def run_to_end(command: Command, *, roll: Roll, timeout_s: float) -> None:
    """Run a command that is meant to end. Raises `StartFailed` if it fails or takes longer; interrupted, it is killed."""
    child = _spawn(command)
    roll.enter(command.name, child.pid, command.stop_signal)
    try:
        code = child.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise failure(command, f"did not end within {timeout_s:.0f} s") from None
    finally:
        signal_group(child.pid, signal.SIGKILL)
        child.wait()
        roll.strike(child.pid)
    if code != 0:
        raise failure(command, _ending(code))


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    if command.log.exists() and command.log.stat().st_size > _LOG_BYTES:
        command.log.replace(command.log.with_name(f"{command.log.name}.1"))
    with contextlib.ExitStack() as files:
        log = files.enter_context(_private(command.log).open("ab"))
        out = files.enter_context(_private(command.said).open("wb")) if command.said else log
        return subprocess.Popen(
            command.arguments,
            env=dict(command.environment),
            cwd=command.folder,
            stdin=command.stdin,
            stdout=out,
            stderr=log,
            start_new_session=True,
        )


def _private(path: Path) -> Path:
    path.touch(mode=0o600)
    return path


def _text(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _end_group(pgid: int) -> None:
    """Kill what the dead child left in its group: it may hold the port or the shared memory that the next one needs."""
    deadline = time.monotonic() + _GONE_S
    while has_group(pgid) and time.monotonic() < deadline:
        signal_group(pgid, signal.SIGKILL)
        time.sleep(0.01)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
