"""Named hooks around every effect. Disarmed they cost one look at two empty variables; bootstrap arms them from `FAILPOINTS`.

`FAILPOINTS="after:llm.complete=crash,before:lnd.add_invoice=crash@2"`: the process dies (exit code 137, no cleanup, like
`kill -9`) at the named point, at its n-th passage (1 unless told), in each of its lives.

`FAILPOINTS="once=FOLDER"`: it dies at a point while FOLDER holds a file named `PID,POINT` (see `marker`), and takes the file
along: one process, one death, and its next life goes on. Armed and disarmed from outside, without a restart.

Names are declared here, so that a sweep can enumerate them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EFFECTS = (
    "db.commit",
    "outbox.publish",
    "bus.announce",
    "step.claim",
    "step.finish",
    "tick.turn",
    "job.create",
    "job.abandon",
    "lnd.add_invoice",
    "lnd.lookup_invoice",
    "lnd.cancel_invoice",
    "price.quote",
    "price.lock",
    "llm.complete",
    "invoice.settle",
    "invoice.lapse",
    "lnd.decode_payreq",
    "lnd.send_payment",
    "lnd.track_payment",
    "payout.claim",
    "payout.send",
    "payout.unknown",
    "session.create",
    "session.abandon",
    "session.topup",
    "session.request",
    "session.close",
    "session.expire",
    "demo.create",
    "run.create",
    "run.start",
    "run.stream",
    "run.cancel",
    "run.leave",
    "run.stay",
    "verification.create",
    "verification.start",
    "verification.note",
    "verification.cancel",
    "verification.resume",
    "macaroon.rotate",
    "key.issue",
    "key.revoke",
    "quota.take",
    "quota.give_back",
    "quota.tokens",
    "plan.invoice",
    "plan.abandon",
    "books.reconcile",
    "cursor.catch_up",
    "log.integrate",
    "epoch.close",
    "epoch.commit",
    "epoch.retry",
    "receipt.claim",
    "split.record",
    "witness.cosign",
    "passport.create",
    "passport.change",
    "passport.pricing",
    "passport.endpoints",
    "passport.revoke",
    "node.beat",
    "node.probed",
    "catalog.probe",
    "catalog.register",
    "idempotency.claim",
    "idempotency.answer",
)
_CRASH = "crash"
_ONCE = "once"
_EXIT_CODE = 137

_armed: dict[str, int] = {}
_folder: list[str] = []
_lock = threading.Lock()


def points() -> tuple[str, ...]:
    """Return every point that can be armed: one before and one after each effect."""
    return tuple(f"{when}:{effect}" for effect in EFFECTS for when in ("before", "after"))


def marker(point: str, pid: int) -> str:
    """Return the name of the file that has process `pid` die at `point`, once."""
    return f"{pid},{point}"


def arm(specification: str) -> None:
    """Arm the points of a `FAILPOINTS` text. Raises `ValueError` for a name that no effect has."""
    for part in filter(None, specification.split(",")):
        point, _, action = part.partition("=")
        if point == _ONCE:
            _folder[:] = [action]
            continue
        verb, _, passage = action.partition("@")
        if point not in points() or verb != _CRASH:
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
    if not _armed and not _folder:
        return
    with _lock:
        if _folder and _is_marked(point):
            os._exit(_EXIT_CODE)
        left = _armed.get(point)
        if left is None:
            return
        if left > 1:
            _armed[point] = left - 1
            return
        os._exit(_EXIT_CODE)


def _is_marked(point: str) -> bool:
    """Take the marker of this point and process, if there is one."""
    try:
        os.unlink(os.path.join(_folder[0], marker(point, os.getpid())))  # noqa: PTH118, PTH108 - a path object costs more than the look
    except OSError:
        return False
    return True
