"""Streams, all at once: two hundred as fast as they come, everyone in turns; three hundred at ten tokens a second each through us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.costs import Run, costs, watched
from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, latency, percentile
from benchmarks.gateway import prompts
from benchmarks.gateway.caller import DONE, Event, Heard, ask_all, require
from benchmarks.gateway.contestants import Contestant, Field
from benchmarks.gateway.rush import together
from benchmarks.ground import Ground

AT_ONCE = 200
TOKENS = 32
PACED_AT_ONCE = 300
PACE_S = 0.1
_ROUNDS = 2
_SHORTEST_WHILE_S = 1.0


@dataclass
class Streams:
    """One contestant's rounds; seconds. `gaps_s`: from one token to the next one. A run counts tokens."""

    runs: list[Run] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    while_all_ran: list[float] = field(default_factory=list)
    """Tokens a second while every stream of a round was under way, where there was such a time."""
    refused: int = 0
    """How often a caller was told to come later, and did; his first token counts from his first try."""

    @property
    def together(self) -> Run:
        """All rounds as one."""
        return together(self.runs)

    def figures(self, what: str) -> list[Figure]:
        """Return first tokens, tokens a second, and gaps."""
        run = self.together
        return [
            Figure(f"{what}: tokens", {"per_s": run.per_s, "told_to_come_later": self.refused}, run.count),
            latency("  first token", self.first_s),
            latency("  from one token to the next", self.gaps_s),
            *(Figure("  tokens, while all of them ran", {"per_s": each}, 1) for each in self.while_all_ran),
        ]


@dataclass(frozen=True)
class AllStreams:
    """Everyone's at full speed, and ours at a pace."""

    field: Field
    of: dict[str, Streams]
    paced: Streams
    paced_direct: Streams

    def figures(self) -> list[Figure]:
        """Return the absolute values."""
        paced = f"{PACED_AT_ONCE} streams at {1 / PACE_S:g} tokens a second"
        return [
            *(
                line
                for each in self.field.all
                for line in self.of[each.name].figures(f"{AT_ONCE} streams, {each.name}")
            ),
            *self.paced_direct.figures(f"{paced}, {self.field.direct.name}"),
            *self.paced.figures(f"{paced}, {self.field.ours.name}"),
        ]

    def comparisons(self) -> list[Comparison]:
        """Return ours against the better of the peers, and the pace that was kept."""
        ours, peers = self.of[self.field.ours.name], [self.of[peer.name] for peer in self.field.peers]
        first = percentile(ours.first_s, 0.5) / min(percentile(peer.first_s, 0.5) for peer in peers)
        tokens = ours.together.per_s / max(peer.together.per_s for peer in peers)
        return [
            Comparison(f"first token p50, {AT_ONCE} streams / the peer's", first, limit=1.0),
            Comparison(f"tokens a second, {AT_ONCE} streams / the peer's", tokens, limit=1.0, at_most=False),
            *(
                Comparison(
                    f"{PACED_AT_ONCE} streams at a pace, tokens a second while all ran / asked for",
                    each * PACE_S / PACED_AT_ONCE,
                )
                for each in self.paced.while_all_ran
            ),
        ]

    def breakdown(self) -> list[Figure]:
        """Return what a token costs in processor time."""
        paced = costs(f"{self.field.ours.name}, a token at a pace", self.paced.together)
        fast = [
            line
            for each in self.field.gateways
            for line in costs(f"{each.name}, a streamed token", self.of[each.name].together)
        ]
        return [*fast, *paced]


def measure(ground: Ground, arena: Field, effort: Effort) -> AllStreams:
    """Let everyone have its rounds, in turns; then keep the pace."""
    fast = {each.name: Streams() for each in arena.all}
    for turn in range(_ROUNDS):
        asked = [prompts.stream(turn * AT_ONCE + number, tokens=TOKENS) for number in range(AT_ONCE)]
        for each in arena.all:
            _round(ground, each, asked, TOKENS, fast[each.name])
    paced, direct = Streams(), Streams()
    tokens = round(effort.gateway_paced_s / PACE_S)
    slow = [prompts.stream(number, tokens=tokens, pace_s=PACE_S) for number in range(PACED_AT_ONCE)]
    _round(ground, arena.direct, slow, tokens, direct)
    _round(ground, arena.ours, slow, tokens, paced)
    return AllStreams(arena, fast, paced, direct)


def _round(ground: Ground, who: Contestant, asked: Sequence[dict[str, object]], tokens: int, found: Streams) -> None:
    heard: list[Heard] = []
    run = watched(
        ground, who.pids, len(asked) * tokens, lambda: heard.extend(ask_all(who.door, asked, connections=len(asked)))
    )
    arrivals = []
    for request, answer in zip(asked, heard, strict=True):
        events = answer.events()
        require_whole(events, prompts.answer(request, tokens=tokens), who.name)
        at = [event.after_s for event in events if event.text]
        arrivals.append([answer.sent_at + after_s for after_s in at])
        found.first_s.append(at[0])
        found.gaps_s += [later - sooner for sooner, later in pairwise(at)]
        found.refused += answer.refused
    found.runs.append(run)
    found.while_all_ran += _while_all_ran(arrivals)


def _while_all_ran(arrivals: list[list[float]]) -> list[float]:
    """Return the tokens a second between the last stream's first token and the first stream's last one, if there was a while."""
    begins, ends = max(at[0] for at in arrivals), min(at[-1] for at in arrivals)
    if ends - begins < _SHORTEST_WHILE_S:
        return []
    return [sum(begins < moment <= ends for at in arrivals for moment in at) / (ends - begins)]


def require_whole(events: Sequence[Event], wanted: str, whose: str) -> None:
    """Require that a stream is complete and in order, and ends in just one `[DONE]`."""
    text = "".join(event.text for event in events)
    require(text == wanted, f"a stream of {whose} holds {len(text)} characters that are not its {len(wanted)}")
    ends = [number for number, event in enumerate(events, start=1) if event.data == DONE]
    require(ends == [len(events)], f"a stream of {whose} with {len(events)} events has its [DONE] at {ends}")
