"""Ports that stay the same over restarts."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

# Below the ranges from which systems pick ports for outgoing connections: nobody takes one while we restart.
_LOWEST = 20_000
_COUNT = 10_000
_TRIES = 200


def choose_ports(file: Path, *, host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return a port for every name in `wanted`: the wanted one, else the one kept in `file`, else a free one.

    What was chosen is kept in `file`. Raises OSError when no free port turns up.
    """
    kept: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        chosen[name] = port or kept.get(name, 0) or _free_port(host, taken=set(chosen.values()) | set(kept.values()))
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(chosen))
    draft.replace(file)
    return chosen


def _free_port(host: str, *, taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(_COUNT)
        if port not in taken and _is_free(host, port):
            return port
    raise OSError(f"no free port on {host} between {_LOWEST} and {_LOWEST + _COUNT}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
