"""The section: what was found, beside the machine's floors of the same run, with books that were compared at its end."""

from __future__ import annotations

from benchmarks.agent import many, overhead, refunds
from benchmarks.agent.books import require_true_books
from benchmarks.agent.many import Many
from benchmarks.agent.overhead import Overhead
from benchmarks.agent.refunds import Refunds
from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, Section, latency, percentile
from benchmarks.floors import bare_flask, commits
from benchmarks.ground import Ground
from benchmarks.peer import running_peer

REQUEST_HOPS, REQUEST_COMMITS = 2, 8
"""placed, taken from the outbox; twice: claimed, model call counted, finished."""
REFUND_HOPS, REFUND_COMMITS = 1, 5
"""claimed by its customer, taken from the outbox, claimed by its worker, about to be handed over, booked."""


def measure(ground: Ground, effort: Effort) -> Section:
    """Measure the requests, the crowd, the refunds and the floors, then compare the books with the node's."""
    alone = overhead.measure(ground, effort)
    crowd = many.measure(ground, effort)
    claimed = refunds.measure(ground, effort)
    compared = require_true_books(ground)
    flask, flask_p50 = bare_flask(ground, effort.http_requests)
    with running_peer(ground) as peer:
        hops = peer.hops(ground.clock, effort.celery_hops)
    bare, _ = commits(ground, effort.commits)
    floors = [
        *flask,
        latency("bare Celery hop: sent → task runs", hops),
        latency("bare commit: one row, psycopg", bare),
    ]
    unit = _Floor(flask_p50, percentile(hops, 0.5), percentile(bare, 0.5))
    return _section(alone, crowd, claimed, compared, floors=floors, unit=unit)


class _Floor:
    """The floors' p50s in seconds, and what a way of so many hops and commits would cost at them."""

    def __init__(self, flask_s: float, hop_s: float, commit_s: float) -> None:
        self.flask_s, self.hop_s, self.commit_s = flask_s, hop_s, commit_s

    def way_s(self, *, hops: int, commits: int) -> float:
        """Return one bare request with so many bare hops and commits, one after the other."""
        return self.flask_s + hops * self.hop_s + commits * self.commit_s


def _section(
    alone: Overhead, crowd: Many, claimed: Refunds, compared: Figure, *, floors: list[Figure], unit: _Floor
) -> Section:
    besides = percentile([one.besides_s for one in alone.asked], 0.5)
    refunded, paid = percentile(claimed.took_s, 0.5), percentile(claimed.paid_s, 0.5)
    request_way = unit.way_s(hops=REQUEST_HOPS, commits=REQUEST_COMMITS)
    refund_way = unit.way_s(hops=REFUND_HOPS, commits=REFUND_COMMITS) + paid
    return Section(
        "The paid agent: sessions, macaroons, refunds",
        [*alone.figures(), *crowd.figures(), *claimed.figures(), *floors, compared],
        [
            Comparison("a request besides the model / its floors, p50", besides / request_way),
            Comparison("a request besides the model / bare Flask, p50", besides / unit.flask_s),
            Comparison("authorised GET, 1 shown / bare Flask, p50", percentile(alone.one_s, 0.5) / unit.flask_s),
            Comparison(
                "authorised GET, 20 shown / 1 shown, p50",
                percentile(alone.twenty_s, 0.5) / percentile(alone.one_s, 0.5),
            ),
            Comparison("a refund / its floors, the bare payment among them, p50", refunded / refund_way),
            Comparison("a refund / bare payment, p50", refunded / paid),
        ],
        [*alone.breakdown(), *crowd.breakdown(), *claimed.breakdown()],
        [
            (
                f"A request's floors: one bare Flask request, {REQUEST_HOPS} bare Celery hops, {REQUEST_COMMITS} bare commits; a"
                f" refund's: one, {REFUND_HOPS} and {REFUND_COMMITS}, and the bare payment. One after the other, at p50."
            ),
            "The model's own time is what the product's counters say, whole milliseconds a call; it answers without delay.",
            "Holders, wallet, node and model run on the same cores. All sessions ended and the books are the node's, or this fails.",
        ],
    )
