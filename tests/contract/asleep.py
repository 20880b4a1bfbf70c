"""A process of the stack that does nothing for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from devstack.supervisor import Stack


@contextmanager
def asleep(stack: Stack, name: str) -> Iterator[None]:
    """Stop the process of this name, and let it go on in the end."""
    pid = stack.process(name).await_running()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
