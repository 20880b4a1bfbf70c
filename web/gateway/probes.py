"""Asking the parts we stand on for a sign of life, each within its own time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from shared.kernel.clock import Clock

log = structlog.get_logger(__name__)

TIMEOUT_S = 2.0
HEALTHY, DEGRADED, DOWN = "healthy", "degraded", "down"


@dataclass(frozen=True)
class Probe:
    """One part. `ask` returns details or raises; slower than `slow_ms` is degraded."""

    name: str
    ask: Callable[[], dict[str, Any] | None]
    slow_ms: float


class PartDown(Exception):
    """The part answers, and the answer is that it cannot work. The text is shown."""


@dataclass
class _Attempt:
    """One question under way. Whoever asks meanwhile waits for the same answer, so a part that hangs costs one thread."""

    began: float
    done: threading.Event = field(default_factory=threading.Event)
    result: dict[str, Any] = field(default_factory=dict)


class Probes:
    """Runs probes side by side."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _Attempt] = {}

    def ask(self, *probes: Probe) -> dict[str, dict[str, Any]]:
        """Return a HealthCheckResult a probe. Takes `TIMEOUT_S` seconds at most, whatever hangs."""
        ends_at = self._clock.monotonic() + TIMEOUT_S
        attempts = {probe.name: self._join(probe) for probe in probes}
        for attempt in attempts.values():
            attempt.done.wait(max(0.0, ends_at - self._clock.monotonic()))
        return {name: self._read(attempt) for name, attempt in attempts.items()}

    def _join(self, probe: Probe) -> _Attempt:
        with self._lock:
            attempt = self._running.get(probe.name)
            if attempt is None:
                attempt = self._running[probe.name] = _Attempt(self._clock.monotonic())
                threading.Thread(
                    target=self._run, args=(probe, attempt), name=f"probe-{probe.name}", daemon=True
                ).start()
        return attempt

    def _run(self, probe: Probe, attempt: _Attempt) -> None:
        asked = self._clock.monotonic()
        try:
            details = probe.ask()
            result: dict[str, Any] = {"status": HEALTHY, **({"details": details} if details else {})}
        except PartDown as fault:
            result = {"status": DOWN, "error": str(fault)}
        except Exception as error:  # noqa: BLE001 - whatever a dead part raises, the answer is the same
            log.warning("probe_failed", part=probe.name, error=type(error).__name__)
            result = {"status": DOWN, "error": "does not answer"}
        latency = round((self._clock.monotonic() - asked) * 1000, 2)
        if result["status"] == HEALTHY and latency > probe.slow_ms:
            result["status"] = DEGRADED
        attempt.result = {**result, "latency": latency}
        with self._lock:
            self._running.pop(probe.name, None)
        attempt.done.set()

    def _read(self, attempt: _Attempt) -> dict[str, Any]:
        if attempt.done.is_set():
            return attempt.result
        waited = round((self._clock.monotonic() - attempt.began) * 1000, 2)
        return {"status": DOWN, "error": f"no answer within {TIMEOUT_S:g} s", "latency": waited}
