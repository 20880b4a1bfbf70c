"""What a gateway adds to a call: one caller, one call at a time, everyone in turns, less what the upstream alone takes."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, latency, percentile
from benchmarks.gateway import prompts
from benchmarks.gateway.caller import ask_all
from benchmarks.gateway.contestants import Contestant, Field

UPSTREAM_S = 0.02
TOKENS = 16
_BLOCK = 20


@dataclass(frozen=True)
class Added:
    """How long each one's calls took, in seconds, by name."""

    field: Field
    took_s: dict[str, list[float]]

    def added_ms(self, of: Contestant, share: float) -> float:
        """Return by how much this percentile is above the upstream's own."""
        alone = percentile(self.took_s[self.field.direct.name], share)
        return (percentile(self.took_s[of.name], share) - alone) * 1000

    def figures(self) -> list[Figure]:
        """Return the calls as they were, and what was added."""
        calls = [latency(f"a call, {each.name}", self.took_s[each.name]) for each in self.field.all]
        added = [
            Figure(
                f"added by {each.name}",
                {"p50_ms": self.added_ms(each, 0.5), "p99_ms": self.added_ms(each, 0.99)},
                len(self.took_s[each.name]),
            )
            for each in self.field.gateways
        ]
        return [*calls, *added]

    def comparisons(self) -> list[Comparison]:
        """Return ours against the better of the peers."""
        return [
            Comparison(
                f"added latency p{round(share * 100)} / the peer's",
                self.added_ms(self.field.ours, share) / min(self.added_ms(peer, share) for peer in self.field.peers),
                limit=1.0,
            )
            for share in (0.5, 0.99)
        ]


def measure(field: Field, effort: Effort) -> Added:
    """Call everyone in turns, a block at a time."""
    took_s: dict[str, list[float]] = {each.name: [] for each in field.all}
    for begin in range(0, effort.gateway_calls, _BLOCK):
        numbers = range(begin, min(begin + _BLOCK, effort.gateway_calls))
        calls = [prompts.call(number, tokens=TOKENS, latency_s=UPSTREAM_S) for number in numbers]
        for each in field.all:
            heard = ask_all(each.door, calls, connections=1)
            for answer in heard:
                answer.body()
            took_s[each.name] += [answer.took_s for answer in heard]
    return Added(field, took_s)
