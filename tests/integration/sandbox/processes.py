"""Which processes a process has."""

from __future__ import annotations

from pathlib import Path


def children_of(pid: int) -> set[int]:
    """Return the processes that `pid` has started and that are still there, dead ones not waited for included."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.update(int(child) for child in (task / "children").read_text().split())
    return found
