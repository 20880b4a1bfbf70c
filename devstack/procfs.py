"""Which process is which: a pid alone may have been given to somebody else since."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")
_DEAD = frozenset({"Z", "X"})


def born(pid: int) -> str:
    """Answer the process's start time in clock ticks with the boot's id, or "" if there is no such process."""
    fields = _stat(_PROC / str(pid))
    return f"{fields[19]}@{_boot()}" if fields and fields[0] not in _DEAD else ""


def lives(pid: int, its_birth: str) -> bool:
    """Tell whether `pid` is still the process that was born then."""
    return bool(its_birth) and born(pid) == its_birth


def has_group(pgid: int) -> bool:
    """Tell whether any process is in that group. The dead that nobody has reaped yet (`Z`) do not count."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not _PROC.is_dir():
        return True
    return any(
        fields[2] == str(pgid) for fields in map(_stat, _PROC.glob("[0-9]*")) if fields and fields[0] not in _DEAD
    )


def signal_group(pgid: int, number: signal.Signals) -> None:
    """Signal every process of a group; a group that is gone already is no fault."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def same_boot(its_birth: str) -> bool:
    """Tell whether that birth was noted since the machine's last start."""
    return its_birth.rpartition("@")[2] == _boot()


def _stat(process: Path) -> list[str]:
    """Answer the fields of proc(5)'s `stat` from the state on; the name before it may hold anything."""
    with contextlib.suppress(OSError):
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return "unknown"
