"""Which port each part of a home listens on: picked once, written down, the same at every start while it is free."""

from __future__ import annotations

import random
from pathlib import Path

from devstack.faults import StackFault
from devstack.files import read_json, write_json
from devstack.machine import is_port_free

# Above 32767 the kernel hands ports out to clients: a server's port would be taken now and then.
_RANGE = range(20000, 32000)
_TRIES = 200


class Ports:
    """The ports of one home, kept in `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = read_json(path)
        self._ports: dict[str, int] = {name: port for name, port in kept.items() if isinstance(port, int)}
        self._given: set[str] = set()

    def of(self, name: str) -> int:
        """Answer the port of `name`: the one it had if it is free, else a new one. Asked again, the answer is the same."""
        port = self._ports.get(name)
        if port is None or (name not in self._given and not is_port_free(port)):
            port = self._pick()
            self._ports[name] = port
            write_json(self._path, self._ports)
        self._given.add(name)
        return port

    def _pick(self) -> int:
        taken = set(self._ports.values())
        for _ in range(_TRIES):
            port = random.choice(_RANGE)
            if port not in taken and is_port_free(port):
                return port
        raise StackFault("no free port between 20000 and 32000 on 127.0.0.1", "stop some other servers and try again")
