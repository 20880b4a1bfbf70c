"""A peer's process: started in a session of its own, ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from devstack.parts import ROOT

START_S = 30.0
STOP_S = 10.0


@contextmanager
def running(
    arguments: Sequence[str], environment: Mapping[str, str], *, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m arguments` as `running_command` does."""
    with running_command([sys.executable, "-m", *arguments], environment, log=log) as started:
        yield started


@contextmanager
def running_command(
    command: Sequence[str], environment: Mapping[str, str], *, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` from the checkout until the block ends; both its streams go to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        started = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        _end(started)


def await_true(look: Callable[[], bool], *, what: str, within_s: float = START_S, every_s: float = 0.05) -> None:
    """Return once `look()` holds. Raises `TimeoutError`."""
    pause = threading.Event()
    for _ in range(int(within_s / every_s)):
        if look():
            return
        pause.wait(every_s)
    raise TimeoutError(f"{what} did not come about within {within_s:g} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_S)
