"""What evidence costs: a program run in its sandbox with as many calls as claims usually make, alone and side by side."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from benchmarks.crowd import at_once
from benchmarks.customer import WentWrong
from benchmarks.effort import Effort
from benchmarks.figures import Figure, latency, rate
from benchmarks.ground import Ground
from shared.sandbox.model import Language, Probe

CALLS = 8
_PROGRAMS = {
    Language.PYTHON: "def add(a, b):\n    return a + b\n",
    Language.TYPESCRIPT: "function add(a: number, b: number): number { return a + b; }\n",
}
_PROBES = [Probe(f"add({number}, 1)", expected=str(number + 1)) for number in range(CALLS)]
_ONE = [Probe("add(1, 1)", expected="2")]


@dataclass(frozen=True)
class EvidenceRuns:
    """Seconds of each run, by language: with one call, with eight, and with eight while as many run at once as a worker lets."""

    single_s: dict[Language, list[float]]
    whole_s: dict[Language, list[float]]
    crowd_s: dict[Language, list[float]]
    crowd_elapsed_s: dict[Language, float]
    at_once: int

    def figures(self) -> list[Figure]:
        """Return latencies and rates."""
        lines = []
        for language in _PROGRAMS:
            crowd = self.crowd_s[language]
            lines += [
                latency(f"evidence run, {language}, 1 call", self.single_s[language]),
                latency(f"evidence run, {language}, {CALLS} calls", self.whole_s[language]),
                latency(f"  {self.at_once} at once", crowd),
                rate(f"  {self.at_once} at once: runs", len(crowd), self.crowd_elapsed_s[language]),
            ]
        return lines


def measure(ground: Ground, effort: Effort) -> EvidenceRuns:
    """Run both languages, each alone and then as many at once as the settings allow a worker."""
    at_once = ground.container.settings.sandbox_runs
    ground.container.sandboxes.warm()
    found = EvidenceRuns({}, {}, {}, {}, at_once)
    for language in _PROGRAMS:
        _run(ground, language, _ONE)  # its program's pages are in memory from here on
        found.single_s[language] = [_run(ground, language, _ONE) for _ in range(effort.evidence_runs)]
        found.whole_s[language] = [_run(ground, language, _PROBES) for _ in range(effort.evidence_runs)]
        _crowd(ground, language, effort, found)
    return found


def _crowd(ground: Ground, language: Language, effort: Effort, found: EvidenceRuns) -> None:
    took: list[float] = []
    lock = threading.Lock()

    def act(_number: int, share: int) -> None:
        for _ in range(share):
            seconds = _run(ground, language, _PROBES)
            with lock:
                took.append(seconds)

    began = ground.clock.monotonic()
    at_once(act, effort.evidence_runs, threads=found.at_once)
    found.crowd_elapsed_s[language] = ground.clock.monotonic() - began
    found.crowd_s[language] = took


def _run(ground: Ground, language: Language, probes: list[Probe]) -> float:
    began = ground.clock.monotonic()
    ran = ground.container.sandboxes.run(language, _PROGRAMS[language], probes)
    if not all(observation.matches for observation in ran.observations):
        raise WentWrong(f"{language} did not add: {[observation.error for observation in ran.observations]}")
    return ground.clock.monotonic() - began
