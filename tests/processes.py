"""Which processes a process has."""

from __future__ import annotations

import contextlib
from pathlib import Path


def children_of(pid: int | None) -> set[int]:
    """Return the processes that `pid` has started and that are still there, dead ones not waited for included."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile has no children any more
            found.update(int(child) for child in (task / "children").read_text(encoding="ascii").split())
    return found
