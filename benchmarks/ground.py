"""What the benchmarks stand on: the whole product as processes, with production's settings, on the simulated model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from benchmarks.announcements import Announcements
from config.settings import Settings
from devstack.supervisor import Stack
from shared.bootstrap import Container, Role, build
from shared.kernel.clock import Clock

PROCESSES = (
    "web",
    "relay",
    "worker-money",
    "worker-llm",
    "worker-inference",
    "worker-verification",
    "worker-payout",
    "worker-anchor",
    "worker-tick",
    "invoices",
    "beat",
)
# One customer's address, and one key, stand for many here; everything else is as it ships.
SETTINGS = {"PORT": "0", "MAX_UNPAID_INVOICES": "1000000", "KEY_PER_MINUTE": "1000000"}


@dataclass(frozen=True)
class Ground:
    """A running stack, the product's parts on it as this process may build them, and an ear on its events."""

    stack: Stack
    container: Container
    announcements: Announcements
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the stack's processes were given."""
        return self.stack.environment

    @property
    def web(self) -> str:
        """The base URL of the web process."""
        return str(self.stack.endpoints["web"])

    @property
    def wallet(self) -> dict[str, Any]:
        """The customer's node, as `endpoints.json` has it."""
        node: dict[str, Any] = self.stack.endpoints["wallet"]
        return node

    @property
    def clock(self) -> Clock:
        """The product's clock: the same one that PostgreSQL reads on this machine."""
        return self.container.clock

    def connect(self, url: str | None = None) -> psycopg.Connection[DictRow]:
        """Open a connection of one's own to the stack's database, or to another one of its server."""
        return psycopg.connect(url or self.stack.endpoints["database_url"], autocommit=True, row_factory=dict_row)


@contextmanager
def open_ground() -> Iterator[Ground]:
    """Start the stack in a folder of its own; stop it and remove the folder at the end."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    with ExitStack() as opened:
        folder = Path(
            opened.enter_context(tempfile.TemporaryDirectory(prefix="lucid-bench-", ignore_cleanup_errors=True))
        )
        folder.chmod(0o755)  # PostgreSQL, which never runs as root, must get through
        stack = opened.enter_context(Stack(folder / "home", kept | SETTINGS, real_model=False, processes=PROCESSES))
        container = build(Settings.load(stack.environment), Role.CLI)
        opened.callback(container.database.close)
        announcements = opened.enter_context(Announcements(container.settings.redis_events_url))
        yield Ground(stack, container, announcements, folder)
