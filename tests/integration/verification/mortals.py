"""Processes that die at a named point. They are forked from one that has loaded everything and holds nothing open, so each costs little."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Mortals:
    """The parent process of all that are to die."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.verification.mortal_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def have_done(self, act: str, *, settings: Mapping[str, str], failpoints: str = "", **told: object) -> int:
        """Have a new process do `act` with `failpoints` armed; return its exit code: 137 where it died at one."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        order = {"act": act, "settings": dict(settings), "failpoints": failpoints, "told": told}
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def close(self) -> None:
        """End the parent."""
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        try:
            assert self._parent.wait(timeout=10) == 0
        finally:
            self._parent.kill()
            self._parent.wait()
            assert self._parent.stdout is not None
            self._parent.stdout.close()
