"""Runs Python: one process a run, which makes a fresh WebAssembly interpreter for every probe (`wasi_child`)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.sandbox.children import Child, child_environment
from shared.sandbox.compiled import RUNTIME, CompiledInterpreter, Interpreter
from shared.sandbox.model import (
    NO_TIME_LEFT,
    Language,
    Limits,
    Observation,
    Outcome,
    Probe,
    Ran,
    SandboxUnavailable,
)
from shared.sandbox.wasi_exits import EXIT_NOT_LOADED, EXIT_STUCK

_GRACE_S = 5.0
_END_S = 5.0
_IN_EXPECTED = -1


class PythonRunner:
    """Runs Python in CPython for WASI under wasmtime. `folder`: where the compiled interpreter is kept, this user's alone."""

    languages = frozenset({Language.PYTHON})

    def __init__(self, folder: Path) -> None:
        self._interpreter = CompiledInterpreter(folder)

    def warm(self) -> None:
        """Compile the interpreter unless that was done before: seconds, once. Raises `SandboxUnavailable`."""
        self._interpreter.files()

    def run(
        self,
        language: Language,
        code: str,
        probes: Sequence[Probe],
        *,
        limits: Limits,
        check: Callable[[], None],
    ) -> Ran:
        """Run each probe against the code freshly loaded; one observation a probe, in their order.

        A process that dies or hangs costs the probe that it was at; another process goes on with the next. Raises
        `SandboxUnavailable` if no process comes as far as its first probe.
        """
        started = time.monotonic()
        run = _Run(code, probes, limits=limits, end=started + limits.run_s)
        while run.is_open():
            self._continue(run, check)
        duration_ms = int((time.monotonic() - started) * 1000)
        return Ran(language, RUNTIME, run.observations(), duration_ms)

    def _continue(self, run: _Run, check: Callable[[], None]) -> None:
        """Start one process and take what it says until it ends."""
        command = [sys.executable, "-s", "-B", "-m", "shared.sandbox.wasi_child", str(os.getpid())]
        interpreter = self._interpreter.files()
        job = run.job(interpreter)
        with Child(command, job=job, environment=child_environment()) as child:
            for line in child.lines(deadline=run.end + _GRACE_S, check=check):
                run.hear(json.loads(line))
            code = child.ended(within_s=_END_S if time.monotonic() < run.end + _GRACE_S else 0.1)
            if not run.is_ready:
                self._not_started(run, interpreter, code, child.complaint())
        run.close(code)

    def _not_started(self, run: _Run, interpreter: Interpreter, code: int | None, complaint: str) -> None:
        """Once, make the compiled interpreter anew: this engine or this machine may not take what is there."""
        if code != EXIT_NOT_LOADED or run.has_recompiled:
            last = complaint.splitlines()[-1:] or [f"exit code {code}"]
            raise SandboxUnavailable(f"the Python sandbox does not start: {last[0][:200]}")
        run.has_recompiled = True
        self._interpreter.forget(interpreter)


class _Run:
    """What is known of a run so far: which probes are done, which one is under way."""

    def __init__(self, code: str, probes: Sequence[Probe], *, limits: Limits, end: float) -> None:
        self.end = end
        self.is_ready = False
        self.has_recompiled = False
        self._code = code
        self._probes = probes
        self._limits = limits
        self._done: dict[int, Observation] = {}
        self._current: int | None = None
        self._started = 0.0
        self._singly = False

    def is_open(self) -> bool:
        """True while probes are left."""
        return len(self._done) < len(self._probes)

    def observations(self) -> tuple[Observation, ...]:
        """Return one observation a probe, in their order."""
        return tuple(self._done[index] for index in range(len(self._probes)))

    def job(self, interpreter: Interpreter) -> bytes:
        """Return the job of the next process: the probes that are left, and the time that is."""
        self.is_ready, self._current = False, None
        limits = replace(self._limits, run_s=max(0.0, self.end - time.monotonic()))
        left = [index for index in range(len(self._probes)) if index not in self._done]
        document = {
            "interpreter": str(interpreter.module),
            "harness": str(interpreter.harness),
            "code": self._code,
            "singly": self._singly,
            "probes": [{"index": index, **_written(self._probes[index])} for index in left],
            "limits": vars(limits),
        }
        return json.dumps(document).encode()

    def hear(self, said: dict[str, Any]) -> None:
        """Take in one line of the process."""
        if "ready" in said:
            self.is_ready = True
        elif "started" in said:
            self._current, self._started = said["started"], time.monotonic()
        else:
            self._done[said["probe"]] = Observation.from_json(said["observation"])
            self._current = None

    def close(self, code: int | None) -> None:
        """Settle what the end of the process means for the probe it was at, and for those that no time is left for."""
        if self.is_ready and self._current == _IN_EXPECTED:
            self._singly = True
        elif self.is_ready and self._current is not None:
            had_time = self.end - self._started >= self._limits.wall_s
            self._done[self._current] = _fallen(code, had_time=had_time)
        if time.monotonic() < self.end:
            return
        for index in range(len(self._probes)):
            self._done.setdefault(index, Observation(Outcome.NOT_TRIED, error=NO_TIME_LEFT))


def _written(probe: Probe) -> dict[str, Any]:
    return {"call": probe.call, "expected": probe.expected, "raises": probe.raises, "setup": probe.setup}


def _fallen(code: int | None, *, had_time: bool) -> Observation:
    """Return what is said of the probe at which a process ended without a word of its own. `had_time`: all that a probe may have."""
    if code is None or code == EXIT_STUCK:
        return Observation(Outcome.TIMED_OUT) if had_time else Observation(Outcome.NOT_TRIED, error=NO_TIME_LEFT)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Observation(Outcome.CRASHED, error=f"the process of the sandbox ended: {how}")
