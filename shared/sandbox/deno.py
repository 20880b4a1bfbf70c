"""Runs JavaScript and TypeScript: one deno process a run, a fresh Worker without any permission for every probe.

Types are taken away, never checked: TypeScript that does not type-check runs. The code is a module, so it is strict, and its file's
own names are what a call may use.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from deno import find_deno_bin  # type: ignore[import-untyped,unused-ignore]

from shared.sandbox.deno_answers import observed
from shared.sandbox.deno_harness import MAIN, VALUES, WORKER
from shared.sandbox.deno_process import DenoProcess, Frames, job_of
from shared.sandbox.model import (
    MOST_OUTPUT_CHARS,
    NO_TIME_LEFT,
    Language,
    Limits,
    Observation,
    Outcome,
    Probe,
    Ran,
    SandboxUnavailable,
)

_START_S = 30.0
_LOOK_EVERY_S = 0.05
_CHECK_EVERY_S = 0.5
_BASE_MB = 448  # of private memory for deno itself, the Workers that are just ending, and buffers outside of the heap
_BASE_RESIDENT_MB = 192
_NOISE = (b"\n<--- Last few GCs", b"\n#\n# Fatal", b"Fatal JavaScript", b"memory allocation of ")
_MAIN_URL = "data:application/javascript;base64," + base64.b64encode((VALUES + MAIN).encode()).decode()
_FINDING = threading.Lock()
"""Python 3.11 fills the table that is asked for the path without a lock: a second thread would read it half full."""


@dataclass
class _Fall:
    """A process that had to be ended, or ended itself, at a probe."""

    probe: int | None
    observation: Observation
    is_certain: bool  # that the probe is to blame, whatever ran before it in the same process


class DenoRunner:
    """Runs JavaScript and TypeScript in deno. Holds nothing between runs."""

    languages = frozenset({Language.JAVASCRIPT, Language.TYPESCRIPT})

    def __init__(self) -> None:
        self._runtime = f"deno {version('deno')}"

    def warm(self) -> None:
        """Make sure that deno is there and starts. Raises `SandboxUnavailable`."""
        ran = self.run(Language.JAVASCRIPT, "", [Probe("1 + 1", expected="2")], limits=Limits(), check=lambda: None)
        if not ran.observations[0].matches:
            raise SandboxUnavailable("deno does not work here")

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

        A probe at which the process ends is tried once more at the head of a process of its own, unless it is plain that it is to
        blame. Raises `SandboxUnavailable` if deno does not start, and whatever `check` raises.
        """
        began = time.monotonic()
        until = began + limits.run_s
        seen = _unreadable(code, probes)
        while (waiting := [at for at in range(len(probes)) if at not in seen]) and time.monotonic() < until:
            with self._process(limits, len(waiting)) as process:
                attendance = _Attendance(process, probes, code=code, limits=limits, check=check, until=until)
                fall = attendance.attend(language, waiting, seen)
            if fall is None or fall.probe is None:
                if waiting[0] not in seen:
                    raise SandboxUnavailable("deno ended before its first probe")
            elif fall.is_certain or fall.probe == waiting[0]:
                seen[fall.probe] = fall.observation
        observations = tuple(
            seen.get(at) or Observation(Outcome.NOT_TRIED, error=NO_TIME_LEFT) for at in range(len(probes))
        )
        return Ran(language, self._runtime, observations, int((time.monotonic() - began) * 1000))

    def _process(self, limits: Limits, probes: int) -> DenoProcess:
        # One probe's CPU time is watched from here; the kernel's limit is for a process that nobody watches any more.
        most_cpu_s = (limits.cpu_s + 1) * probes + 5
        try:
            with _FINDING:
                binary = find_deno_bin()
        except FileNotFoundError:
            raise SandboxUnavailable("deno is not installed") from None
        data_mb = _BASE_MB + limits.memory_mb
        return DenoProcess(binary, _MAIN_URL, cpu_s=most_cpu_s, data_mb=data_mb, heap_mb=limits.memory_mb)


@dataclass
class _Stage:
    """What the process is at: nothing yet, an expected value, a Worker's start, the code."""

    name: str = "start"
    probe: int | None = None
    ends: float = 0.0
    cpu_s: float = 0.0
    began: float = 0.0
    output: bytearray = field(default_factory=bytearray)
    printed: int = 0


class _Attendance:
    """One process, attended from its start until it has answered or fallen."""

    def __init__(
        self,
        process: DenoProcess,
        probes: Sequence[Probe],
        *,
        code: str,
        limits: Limits,
        check: Callable[[], None],
        until: float,
    ) -> None:
        self._process = process
        self._probes = probes
        self._code = code
        self._limits = limits
        self._check = check
        self._until = until
        self._next_check = 0.0
        self._stage = _Stage(ends=time.monotonic() + _START_S)

    def attend(self, language: Language, waiting: Sequence[int], seen: dict[int, Observation]) -> _Fall | None:
        """Ask for the probes that wait and put what is seen into `seen`; return how the process fell, if it did."""
        nonce = secrets.token_hex(16)
        asked = [_asked(at, self._probes[at]) for at in waiting]
        self._process.tell(json.dumps(job_of(nonce, VALUES + WORKER, language, self._code, asked)).encode())
        frames = Frames(nonce)
        while (printed := self._process.read(_LOOK_EVERY_S)) is not None:
            for heard in frames.feed(printed):
                if isinstance(heard, str):
                    self._hear(json.loads(heard), seen)
                else:
                    self._take(heard)
            self._look_up()
            fall = self._overrun()
            if fall is not None:
                return fall
        self._take(frames.rest())
        return self._ended() if any(at not in seen for at in waiting) else None

    def _hear(self, frame: dict[str, Any], seen: dict[int, Observation]) -> None:
        now = time.monotonic()
        at = frame["at"]
        if at == "end":
            probe = frame["probe"]
            output = self._output()
            seen[probe] = observed(self._probes[probe], self._code, frame["answer"], frame["expected"], output)
            self._stage = _Stage("ready", ends=now + _START_S)
            return
        allowed = self._limits.wall_s if at in ("code", "expected") else _START_S
        stage = _Stage(at, frame.get("probe"), ends=now + allowed, cpu_s=self._process.cpu_s(), began=now)
        if at == "code":
            stage.output, stage.printed = self._stage.output, self._stage.printed
        self._stage = stage

    def _take(self, printed: bytes) -> None:
        self._stage.printed += len(printed)
        room = 4 * MOST_OUTPUT_CHARS - len(self._stage.output)
        self._stage.output += printed[: max(0, room)]

    def _output(self) -> str:
        return bytes(self._stage.output).decode("utf-8", "replace")

    def _look_up(self) -> None:
        if time.monotonic() >= self._next_check:
            self._check()
            self._next_check = time.monotonic() + _CHECK_EVERY_S

    def _overrun(self) -> _Fall | None:
        stage, limits = self._stage, self._limits
        if stage.probe is None and time.monotonic() > stage.ends:
            raise SandboxUnavailable("deno does not start, or does not go on")
        if stage.printed > limits.output_bytes:
            return self._fall(
                Outcome.TOO_MUCH_OUTPUT, f"more than {limits.output_bytes} bytes were printed", is_certain=True
            )
        if self._process.resident_mb() > _BASE_RESIDENT_MB + limits.memory_mb:
            return self._fall(Outcome.OUT_OF_MEMORY, f"more than {limits.memory_mb} MiB were used")
        if time.monotonic() > stage.ends:
            return self._fall(Outcome.TIMED_OUT, None, is_certain=True)
        if time.monotonic() > self._until:
            return self._fall(Outcome.NOT_TRIED, NO_TIME_LEFT, is_certain=True)
        if stage.name == "code" and self._process.cpu_s() - stage.cpu_s > limits.cpu_s:
            return self._fall(Outcome.TIMED_OUT, f"more than {limits.cpu_s} s of CPU time were used", is_certain=True)
        return None

    def _ended(self) -> _Fall:
        status = self._process.end()
        if self._stage.name == "start":
            said = self._output().strip().splitlines()
            raise SandboxUnavailable(f"deno does not start: {said[-1][:200] if said else f'status {status}'}")
        printed = bytes(self._stage.output)
        if any(noise in printed for noise in _NOISE):
            return self._fall(Outcome.OUT_OF_MEMORY, f"more than {self._limits.memory_mb} MiB were used")
        return self._fall(
            Outcome.CRASHED, "the process ended " + (f"by signal {-status}" if status < 0 else f"with status {status}")
        )

    def _fall(self, outcome: Outcome, error: str | None, *, is_certain: bool = False) -> _Fall:
        stage = self._stage
        duration_ms = int((time.monotonic() - stage.began) * 1000) if stage.began else 0
        if stage.name == "expected" and outcome is not Outcome.NOT_TRIED:
            outcome, error = Outcome.BAD_PROBE, f"expected: {error or 'no value within the time allowed'}"
        for noise in _NOISE:
            del stage.output[len(bytes(stage.output).partition(noise)[0]) :]
        observation = Observation(outcome, error=error, output=self._output(), duration_ms=duration_ms)
        return _Fall(stage.probe, observation, is_certain)


def _asked(at: int, probe: Probe) -> dict[str, Any]:
    """Return a probe as the harness takes it; the semicolon that ends a statement ends no expression."""
    expected = None if probe.expected is None else _expression(probe.expected)
    return {"at": at, "call": _expression(probe.call), "setup": probe.setup, "expected": expected}


def _expression(text: str) -> str:
    return text.strip().rstrip(";").rstrip()


def _unreadable(code: str, probes: Sequence[Probe]) -> dict[int, Observation]:
    """Return what is said of probes that cannot be sent as they are: half a surrogate pair is no text."""
    if not _is_text(code):
        unread = Observation(Outcome.NOT_LOADED, error="the code holds half a surrogate pair")
        return dict.fromkeys(range(len(probes)), unread)
    bad = Observation(Outcome.BAD_PROBE, error="the probe holds half a surrogate pair")
    return {
        at: bad
        for at, probe in enumerate(probes)
        if not all(map(_is_text, (probe.call, probe.setup, probe.expected or "")))
    }


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
