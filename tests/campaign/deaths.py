"""Has one process die at one failpoint, once, from outside (`FAILPOINTS=once=FOLDER`, see `shared/kernel/failpoints.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.process import Process
from devstack.supervisor import Stack
from shared.kernel.failpoints import marker
from tests.e2e.patience import eventually
from tests.processes import children_of

PASSES_S = 40.0


@dataclass(frozen=True)
class Deaths:
    """Arms the processes of `stack`, which was started with `FAILPOINTS=once=` and this folder."""

    stack: Stack
    folder: Path

    @contextmanager
    def at(self, point: str, *, of: str) -> Iterator[None]:
        """Arm `point` in the process named `of`; after the block, wait for its death there and its next life."""
        process = self.stack.process(of)
        pid = process.await_running()
        mortals = children(pid) if of == "web" else [pid]
        markers = [self.folder / marker(point, mortal) for mortal in mortals]
        for armed in markers:
            armed.touch()
        try:
            yield
            eventually(lambda: not all(map(Path.exists, markers)), what=f"a death {point} in {of}", within_s=PASSES_S)
        finally:
            for armed in markers:
                armed.unlink(missing_ok=True)
        if of != "web":
            revive(process, pid)


def revive(process: Process, dead: int) -> None:
    """Have a process that died under the number `dead` started without the pause that the supervisor makes after many deaths."""
    eventually(lambda: process.pid != dead, what=f"the end of {process.name}")
    if process.pid is None:
        process.stop()
        process.start()
    process.await_running(other_than=dead)


def children(pid: int) -> list[int]:
    """Return the processes that gunicorn's master has forked, once there are any."""
    return eventually(lambda: sorted(children_of(pid)), what="the web workers")
