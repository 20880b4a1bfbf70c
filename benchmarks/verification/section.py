"""The section of `make bench`: speed alone, on the simulated model. How far verdicts can be trusted is another program's matter."""

from __future__ import annotations

from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Section, percentile
from benchmarks.ground import Ground
from benchmarks.verification import evidence_runs, forward_calls
from benchmarks.verification.evidence_runs import CALLS
from benchmarks.verification.forward_calls import CALLERS, ForwardCalls


def measure(ground: Ground, effort: Effort) -> Section:
    """Measure the evidence runs, then the calls."""
    runs = evidence_runs.measure(ground, effort)
    calls = forward_calls.measure(ground, effort)
    run_s = [seconds for each in runs.whole_s.values() for seconds in each]
    return Section(
        "Verification: forward calls and their evidence, on the simulated model",
        [*calls.figures(), *runs.figures()],
        [
            Comparison(
                f"forward besides the model / a run of {CALLS} calls, p50",
                percentile(calls.besides_s, 0.5) / percentile(run_s, 0.5),
            ),
            Comparison(f"{CALLERS} calls at once / one at a time, calls a second", _gain(calls)),
        ],
        calls.breakdown(),
        [
            f"A run is one program with {CALLS} calls, each in an interpreter of its own; starting and ending its process is part of it.",
            (
                "One forward call here: the subtraction under the name of addition, in Python and TypeScript in turns; it loads the code,"
                " runs every claim twice and two to three references, and runs the correction."
            ),
            "The model's own time is what the product's counters say, whole milliseconds a call; it answers without delay.",
            f"{CALLERS} callers, each with one call; a worker runs {runs.at_once} programs at once. Everything shares the cores.",
        ],
    )


def _gain(calls: ForwardCalls) -> float:
    alone_s = sum(call.took_s for call in calls.alone) / len(calls.alone)
    return len(calls.crowd_s) / calls.crowd_elapsed_s * alone_s
