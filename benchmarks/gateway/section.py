"""The section: the gateway beside its peer, in the same run on the same upstream, and where its own time goes."""

from __future__ import annotations

from benchmarks.effort import Effort
from benchmarks.figures import Section
from benchmarks.gateway import added, hops, litellm, rush, streams
from benchmarks.gateway.contestants import open_field
from benchmarks.ground import Ground


def measure(ground: Ground, effort: Effort) -> Section:
    """Bring up the peers, then let everyone take turns."""
    with open_field(ground) as field:
        alone = added.measure(field, effort)
        crowd = rush.measure(ground, field, effort)
        flows = streams.measure(ground, field, effort)
        way = hops.measure(ground, field.ours.door, effort)
    return Section(
        f"The gateway beside LiteLLM {litellm.version()}, chat completions on the simulated model",
        [*alone.figures(), *crowd.figures(), *flows.figures()],
        [*alone.comparisons(), *crowd.comparisons(), *flows.comparisons()],
        [*way, *crowd.breakdown(), *flows.breakdown()],
        [
            "Compared with the better of the peer's two ways (one worker, two workers), figure by figure.",
            (
                "Ours keeps a row, its moves, a usage row and a signed receipt of each call, and the events of each stream; the"
                " peer keeps nothing. Each checks one key."
            ),
            "Ours: two web processes and two inference workers. Callers, upstream, peers and stores run on the same cores.",
            (
                f"Added: the upstream answers after {added.UPSTREAM_S * 1000:g} ms with {added.TOKENS} tokens; we have it stream"
                " them, always."
            ),
            (
                f"{streams.AT_ONCE} streams: {streams.TOKENS} tokens each, as fast as they come. Every stream that was measured was"
                " complete, in order and ended in one [DONE]."
            ),
        ],
    )
