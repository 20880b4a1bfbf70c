"""The machine the figures are from, how busy it is, and what each process of a tree has cost it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """Return processor, cores, memory and Python, as far as this system tells."""
    return {
        "processor": _field("/proc/cpuinfo", r"^model name\s*:\s*(.+)$") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_field("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0) / 1024**2, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def cpu_of_all() -> float:
    """Return the processor seconds that the whole machine has spent on anything since it started, stolen ones included."""
    fields = _field("/proc/stat", r"^cpu\s+(.+)$").split()
    idle = (3, 4)  # idle, iowait; the last two, guests, are counted in the first two already
    return sum(int(value) for place, value in enumerate(fields[:8]) if place not in idle) / _TICKS_A_SECOND


def cpu_of_tree(pid: int) -> float:
    """Return the processor seconds of a process and all that descends from it, the ended and reaped included."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(entry)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / _TICKS_A_SECOND
    total, waiting = 0.0, [pid]
    while waiting:
        member = waiting.pop()
        total += spent.get(member, 0.0)
        waiting += children.get(member, [])
    return total


def _stat(process: Path) -> list[str]:
    """Return the fields of proc(5)'s `stat` from the state on."""
    try:
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _field(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""
