"""Wall clocks that can be set: a small library (`clock_shim.c`), compiled once, preloaded into the processes of one group each."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
_SOURCE = Path(__file__).with_name("clock_shim.c")
_NANOSECONDS = 10**9


@dataclass(frozen=True)
class WallClock:
    """The wall clock of every process that runs under `environment`; the monotonic one goes on as ever."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with."""
        return {"LD_PRELOAD": str(self.library), "TEST_CLOCK": str(self.file)}

    def put(self, ahead_s: float) -> None:
        """Have the clock differ from the machine's by so many seconds, from this moment on."""
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, struct.pack("=q", round(ahead_s * _NANOSECONDS)), 0)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Clocks:
    """One clock for each place where the product's processes would stand."""

    application: WallClock
    stores: WallClock
    """PostgreSQL and Valkey."""
    nodes: WallClock
    """The Lightning nodes, the witness and the model."""
    scheduler: WallClock
    """A host that only a second beat stands on."""

    @classmethod
    def made_in(cls, folder: Path) -> Clocks:
        """Compile the library and have every clock show the machine's time."""
        library = folder / "clock.so"
        command = [COMPILER or "cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        clocks = [WallClock(library, folder / name) for name in ("application", "stores", "nodes", "scheduler")]
        for clock in clocks:
            clock.put(0)
        return cls(*clocks)


@contextmanager
def inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """Have what this process starts inherit more variables: the embedded stores get no environment but this process's own."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
