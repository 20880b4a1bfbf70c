"""Thirty-two callers at once on an upstream that answers at once: calls a second, and what one costs in processor time."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.costs import Run, costs, watched
from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, latency, rate
from benchmarks.gateway import prompts
from benchmarks.gateway.caller import Heard, ask_all, require
from benchmarks.gateway.contestants import Contestant, Field
from benchmarks.ground import Ground

CALLERS = 32
TOKENS = 16
_ROUNDS = 2


@dataclass
class Rush:
    """One contestant's rounds, and how long its calls took, in seconds."""

    runs: list[Run] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    @property
    def together(self) -> Run:
        """All rounds as one."""
        return together(self.runs)


@dataclass(frozen=True)
class Rushes:
    """Everyone's."""

    field: Field
    of: dict[str, Rush]

    def figures(self) -> list[Figure]:
        """Return calls a second and their latencies."""
        lines = []
        for each in self.field.all:
            run = self.of[each.name].together
            lines.append(rate(f"{CALLERS} callers, {each.name}: calls", run.count, run.elapsed_s))
            lines.append(latency("  a call", self.of[each.name].took_s))
        return lines

    def comparisons(self) -> list[Comparison]:
        """Return ours against the better of the peers."""
        best = max(self.of[peer.name].together.per_s for peer in self.field.peers)
        ours = self.of[self.field.ours.name].together.per_s
        return [Comparison(f"calls a second, {CALLERS} callers / the peer's", ours / best, limit=1.0, at_most=False)]

    def breakdown(self) -> list[Figure]:
        """Return what a call costs in processor time."""
        return [line for each in self.field.gateways for line in costs(each.name, self.of[each.name].together)]


def measure(ground: Ground, arena: Field, effort: Effort) -> Rushes:
    """Let everyone have its rounds, in turns."""
    found = Rushes(arena, {each.name: Rush() for each in arena.all})
    count = effort.gateway_rush // _ROUNDS
    for turn in range(_ROUNDS):
        calls = [prompts.call(turn * count + number, tokens=TOKENS) for number in range(count)]
        for each in arena.all:
            found.of[each.name].runs.append(_round(ground, each, calls, found.of[each.name].took_s))
    return found


def _round(ground: Ground, who: Contestant, calls: list[dict[str, object]], took_s: list[float]) -> Run:
    heard: list[Heard] = []
    run = watched(ground, who.pids, len(calls), lambda: heard.extend(ask_all(who.door, calls, connections=CALLERS)))
    for answer in heard:
        answer.body()
    require(len(heard) == len(calls), f"{who.name} left {len(calls) - len(heard)} calls unanswered")
    took_s += [answer.took_s for answer in heard]
    return run


def together(runs: list[Run]) -> Run:
    """Return several rounds as one."""
    names = {name for run in runs for name in run.spent_s}
    spent_s = {name: sum(run.spent_s.get(name, 0.0) for run in runs) for name in names}
    return Run(sum(run.count for run in runs), sum(run.elapsed_s for run in runs), spent_s)
