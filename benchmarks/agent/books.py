"""The books at the end of a run: audited, and compared with the node's by `lucid reconcile`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.customer import WentWrong
from benchmarks.figures import Figure
from benchmarks.ground import Ground
from cli.findings import Level
from cli.records import books
from devstack.parts import ROOT

_PATIENCE_S = 120
_COMPARED = (0, 1)
"""`lucid reconcile` could compare: without a difference, with one."""


def require_true_books(ground: Ground) -> Figure:
    """Return what was compared. Raises `WentWrong` where the books are at fault or differ from the node's."""
    faults = [found.detail for found in books(ground.container) if found.level is Level.FAULT]
    compared = _compared(ground)
    faults += [str(found) for found in compared["differences"]]
    if faults:
        raise WentWrong(f"the books are not true: {faults[:3]}")
    columns = {name: float(compared[name]) for name in ("payments", "under_way")} | {"differences": 0.0}
    return Figure("books compared with the node's, by settled invoice", columns, compared["invoices"])


def _compared(ground: Ground) -> dict[str, Any]:
    command = [sys.executable, "-m", "cli.main", "reconcile", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=ground.environment, capture_output=True, timeout=_PATIENCE_S, check=False
    )
    if done.returncode not in _COMPARED:
        raise WentWrong(f"the books could not be compared: {done.stdout[:200]!r} {done.stderr[-200:]!r}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
