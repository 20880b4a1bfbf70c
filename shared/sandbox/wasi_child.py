"""The process that one run of Python happens in: the interpreter compiled to WebAssembly, a fresh instance of it for every probe.

Trusted, and confined all the same: should the engine have a hole, this process has no environment, nothing open but its job and its
answer, and limits that the kernel keeps. Inside, the interpreter has no folders, no sockets, no arguments and no environment, a bounded
memory and a bounded time. A job comes in on standard input; lines go out: `ready`, then for each probe `started` and its observation.

What hostile code can still falsify: it shares one interpreter with the harness, so it can find the harness's words and write any report it
likes, that is: claim any value, error or output for its own call. It could have computed those as well. What it cannot do: see the
expected value, which is evaluated in an instance that never held the code; touch the comparison, which happens here; or reach another
probe, another run or anything outside.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wasmtime import WasmtimeError

from shared.sandbox.confinement import confine, end_with_parent, forbid_processes
from shared.sandbox.engine import THREAD_STACK
from shared.sandbox.instances import START_HARNESS, Clock, Interpreter
from shared.sandbox.reports import Ended, Ending, expected_nodes, observed
from shared.sandbox.wasi_exits import EXIT_NOT_LOADED, EXIT_STUCK

_LOOK_EVERY_S = 0.02
_GRACE_S = 1.0


class Run:
    """All probes of one run, one after the other, in the thread that has the deep stack."""

    def __init__(self, job: Mapping[str, Any], interpreter: Interpreter, harness: bytes) -> None:
        """Begin the time for all probes."""
        self._job = job
        self._harness = harness
        self._code: str = job["code"]
        self._probes: Sequence[Mapping[str, Any]] = job["probes"]
        self._limits: Mapping[str, Any] = job["limits"]
        self._interpreter = interpreter
        self._end = time.monotonic() + float(self._limits["run_s"])
        self._expected: dict[int, Any] | None = None

    def all_probes(self) -> None:
        """Run them, and say a line about each."""
        if not self._job["singly"]:
            say({"started": -1})
            self._expected = self._expectations([p for p in self._probes if p["expected"] is not None])
        for probe in self._probes:
            if time.monotonic() >= self._end:
                return
            say({"started": probe["index"]})
            say({"probe": probe["index"], "observation": self._observation(probe)})

    def _observation(self, probe: Mapping[str, Any]) -> dict[str, Any]:
        expected = None
        if probe["expected"] is not None:
            found = self._expected if self._expected is not None else self._expectations([probe])
            expected = found[probe["index"]] if found else {"error": "the expected value could not be evaluated"}
        job = {"kind": "probe", "code": self._code, "call": probe["call"], "setup": probe["setup"]}
        hash_seed = int(self._limits.get("hash_seed", 0))
        ended = self._within_limits(probe["index"], job, hash_seed=hash_seed)
        return observed(ended, raises=probe["raises"], expected=expected)

    def _expectations(self, probes: Sequence[Mapping[str, Any]]) -> dict[int, Any] | None:
        """Evaluate expected values together; None if that came to a bad end, so that each is tried on its own."""
        if not probes:
            return {}
        job = {"kind": "expected", "code": self._code, "expected": [(p["expected"], p["setup"]) for p in probes]}
        nodes = expected_nodes(self._within_limits(-1, job), count=len(probes))
        return None if nodes is None else {probe["index"]: node for probe, node in zip(probes, nodes, strict=True)}

    def _within_limits(self, probe: int, job: Mapping[str, Any], *, hash_seed: int = 0) -> Ended:
        """Run one job. What does not end in less than the time that a probe may have was cut short: nothing is known of it."""
        most_s, left_s = float(self._limits["wall_s"]), max(0.1, self._end - time.monotonic())
        given = {"harness": self._harness, **job}
        ended = self._interpreter.run(
            START_HARNESS,
            given,
            probe=probe,
            wall_s=min(most_s, left_s),
            cpu_s=float(self._limits["cpu_s"]),
            hash_seed=hash_seed,
        )
        is_short = ended.ending is Ending.TIMED_OUT and left_s < most_s
        return replace(ended, ending=Ending.CUT_SHORT) if is_short else ended


def say(document: Mapping[str, Any]) -> None:
    """Write one line to whoever started this process."""
    line = json.dumps(document).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def watch(thread: threading.Thread, interpreter: Interpreter, clock: Clock) -> None:
    """Interrupt what runs too long until `thread` ends. What cannot be interrupted ends this process."""
    cpu = time.pthread_getcpuclockid(thread.ident or 0)
    stuck_at = 0.0
    while thread.is_alive():
        thread.join(_LOOK_EVERY_S)
        with clock.lock:
            now = time.monotonic()
            if clock.probe is None:
                continue
            if not clock.has_ended and thread.is_alive():
                if now < clock.wall_end and time.clock_gettime(cpu) < clock.cpu_end:
                    continue
                stuck_at = now + _GRACE_S
                interpreter.engine.increment_epoch()
                clock.end()
            elif clock.has_ended and now > stuck_at:
                os._exit(EXIT_STUCK)


def main() -> None:
    """Read the job, load the interpreter, give up what is not needed, run."""
    end_with_parent(int(sys.argv[1]))
    job = json.load(sys.stdin.buffer)
    limits = job["limits"]
    confine(
        cpu_s=int(limits["run_s"]) + 30,
        data_mb=int(limits["memory_mb"]) + 512,
        file_bytes=1 << 20,
        open_files=32,
    )
    clock = Clock()
    try:
        harness = Path(job["harness"]).read_bytes()
        memory_mb, output_bytes = int(limits["memory_mb"]), int(limits["output_bytes"])
        interpreter = Interpreter(job["interpreter"], memory_mb=memory_mb, output_bytes=output_bytes, clock=clock)
    except (OSError, WasmtimeError) as error:
        sys.stderr.write(f"{error}\n")
        os._exit(EXIT_NOT_LOADED)
    threading.stack_size(THREAD_STACK)
    thread = threading.Thread(target=Run(job, interpreter, harness).all_probes, daemon=True)
    say({"ready": True})
    thread.start()
    forbid_processes()
    watch(thread, interpreter, clock)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
