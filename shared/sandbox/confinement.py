"""What a process of the sandbox does to itself before it touches anything hostile: limits it cannot raise again, an end with its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def end_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends, and at once if process `parent` is gone already. Linux only."""
    prctl = _prctl()
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(*, cpu_s: int, data_mb: int, file_bytes: int, open_files: int) -> None:
    """Lower this process's limits for good: CPU seconds, private memory, size of any file, open files; no core dumps."""
    _lower(resource.RLIMIT_CPU, cpu_s)
    _lower(resource.RLIMIT_DATA, data_mb << 20)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_NOFILE, open_files)
    _lower(resource.RLIMIT_CORE, 0)


def forbid_processes() -> None:
    """Start no process and no thread from here on. The kernel does not hold root to this one."""
    _lower(resource.RLIMIT_NPROC, 0)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (most, most))


def _prctl() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None
