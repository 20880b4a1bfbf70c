"""Named hooks around every effect. Disarmed they cost one dictionary look-up; bootstrap arms them from `FAILPOINTS`.

`FAILPOINTS="after:llm.complete=crash,before:lnd.add_invoice=crash@2"`: the process dies (exit code 137, no cleanup, like
`kill -9`) at the named point, at its n-th passage (1 unless told). Names are declared here, so that a sweep can enumerate them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EFFECTS = (
    "db.commit",
    "outbox.publish",
    "step.claim",
    "step.finish",
    "lnd.add_invoice",
    "lnd.lookup_invoice",
    "lnd.cancel_invoice",
    "llm.complete",
    "invoice.settle",
    "log.integrate",
    "epoch.close",
    "witness.cosign",
)

_armed: dict[str, int] = {}
_lock = threading.Lock()


def points() -> tuple[str, ...]:
    """Return every point that can be armed: one before and one after each effect."""
    return tuple(f"{when}:{effect}" for effect in EFFECTS for when in ("before", "after"))


def arm(specification: str) -> None:
    """Arm the points of a `FAILPOINTS` text. Raises `ValueError` for a name that no effect has."""
    for part in filter(None, specification.split(",")):
        point, _, action = part.partition("=")
        verb, _, passage = action.partition("@")
        if point not in points() or verb != "crash":
            raise ValueError(f"unknown failpoint {part!r}")
        _armed[point] = int(passage or 1)


@contextmanager
def effect(name: str) -> Iterator[None]:
    """Mark one effect: passes `before:name`, runs the block, passes `after:name` when the block returned."""
    reach(f"before:{name}")
    yield
    reach(f"after:{name}")


def reach(point: str) -> None:
    """Pass one point: nothing, unless it is armed and this is its passage; then the process dies at once."""
    if not _armed:
        return
    with _lock:
        left = _armed.get(point)
        if left is None:
            return
        if left > 1:
            _armed[point] = left - 1
            return
        os._exit(137)
