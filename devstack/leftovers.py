"""Who was started under a home, and the end of those whose supervisor is no more.

The supervisor writes each child into `processes.json` as it is started. Two read it after a `kill -9` of the supervisor: the
watchdog, at once, and the next supervisor of that home, in case the watchdog was killed as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from devstack import procfs
from devstack.files import read_json, write_json

STORES = frozenset({"postgres", "valkey"})
_PARTS_GRACE_S = 3.0
_STORES_GRACE_S = 5.0
_HURRIED_GRACE_S = 0.5


@dataclass(frozen=True)
class Child:
    """One child as it stands in the file. `pid` is also its process group."""

    name: str
    pid: int
    born: str
    stop_signal: int

    @property
    def lives(self) -> bool:
        """True while the child, or anything else of its group, is there."""
        if procfs.born(self.pid):
            return procfs.lives(self.pid, self.born)
        # No process bears the number, so a group that does can only be the one that our child led.
        return procfs.same_boot(self.born) and procfs.has_group(self.pid)


class Roll:
    """The children of this supervisor, in memory and in `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        self.supervisor = {"pid": os.getpid(), "born": procfs.born(os.getpid())}

    def enter(self, name: str, pid: int, stop_signal: signal.Signals) -> None:
        """Note a child that was just started."""
        with self._lock:
            self._children[pid] = Child(name, pid, procfs.born(pid), int(stop_signal))
            self._write()

    def strike(self, pid: int) -> None:
        """Forget a child that is gone."""
        with self._lock:
            self._children.pop(pid, None)
            self._write()

    def close(self) -> None:
        """Remove the file: nothing of ours is running."""
        with self._lock:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        children = [asdict(child) for child in self._children.values()]
        # A full disk must not end the supervision; what it costs is at worst an orphan after a kill.
        with contextlib.suppress(OSError):
            write_json(self._path, {"supervisor": self.supervisor, "children": children})


def end_leftovers(path: Path, *, of_supervisor: int | None = None) -> list[str]:
    """End every child in `path` that still lives, stores last; answer their names. Interrupted, it only hurries.

    With `of_supervisor`, do so only if that process wrote the file: another may have taken the home over by now.
    """
    try:
        noted = read_json(path)
        children = [Child(**entry) for entry in noted.get("children", [])]
        supervisor = noted.get("supervisor", {}).get("pid")
    except (ValueError, TypeError):
        return []  # a disk that was full in between; the ports and postmaster.pid are looked at besides
    if of_supervisor is not None and supervisor != of_supervisor:
        return []
    # The watchdog stands in the file as well, and is one of the two who call this.
    living = [child for child in children if child.lives and child.pid != os.getpid()]
    stores = [child for child in living if child.name in STORES]
    others = [child for child in living if child.name not in STORES]
    try:
        _end(others, _PARTS_GRACE_S)
        _end(stores, _STORES_GRACE_S)
    except BaseException:
        _end(others, _HURRIED_GRACE_S)
        _end(stores, _HURRIED_GRACE_S)
        raise
    return [child.name for child in living]


def _end(children: Iterable[Child], grace_s: float) -> None:
    remaining = list(children)
    for child in remaining:
        procfs.signal_group(child.pid, signal.Signals(child.stop_signal))
    deadline = time.monotonic() + grace_s
    while (remaining := [child for child in remaining if child.lives]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in remaining:
        procfs.signal_group(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + grace_s
    while any(child.lives for child in remaining) and time.monotonic() < deadline:
        time.sleep(0.02)
