"""A new effect without a failpoint fails here: what writes a row and what reaches outside is found in the source itself."""

from __future__ import annotations

import pytest

from shared.kernel.failpoints import EFFECTS, arm, points
from tests.campaign.calls_in_code import SourceCalls, short

# Every write ends in a commit, which has its two points. These stand in no other failpoint's block, for a reason:
NEEDS_NO_MORE_THAN_THE_COMMIT = {
    "MeteredUpstream._count": "a figure in a transaction of its own: a death around it is a death around the commit",
    "Invoices.nudge": "asks for a look at the node; if it is lost, the next GET or the sweep asks again",
    "ApiKeys.identify": "notes that a key is in use, for people to read; the next call notes it again",
    "Payouts.accept_database": "an operator's word, given again if his command dies",
    "Log.open_epoch": "the log's first epoch, where nothing has begun: one statement that the next caller repeats",
    "ProjectEpochs.open": "one statement, nothing where an epoch is open: a death around it is a death around the commit",
    "Anchoring._be_patient": "counts a try, nothing depends on it",
    "Work.hold": "extends a lease in the transaction of what it allows, and that stands in a failpoint of its own",
    "Work._renew": "extends a lease; without it the lease lapses, which is what a death does",
    "Work.relay": "the rows are taken in the transaction that publishes them: outbox.publish, then the commit",
    "Runs._expire": "one transaction that ends one overdue run; what died before its commit is overdue still at the next turn",
    "Verifications._end_overdue": "the same for a verification",
    "Work.tick": "the tick's row moves in the transaction of the tick's action: tick.turn, then the commit",
    "Work.sing": "a sign of life; the next one comes in ten seconds",
}
# Calls to clients that change nothing anywhere, or whose failpoint is further in.
CHANGES_NOTHING_OUTSIDE = {
    "Bus.announce": "its failpoint, bus.announce, is inside",
    "Bus.nudge_relay": "its failpoint, bus.announce, is inside",
    "Bus.waiting": "registers a waiter in this process",
    "PriceFeeds.quote": "its failpoint, price.quote, is inside",
    "connect": "builds a client that connects later",
    "expiry_of": "reads a text",
    "payable": "reads a text",
    "LndClient.subscribe_invoices": "only reads; what it brings is credited under invoice.settle",
    "LndClient.list_settled_after": "only reads; what it brings is credited under invoice.settle",
    "LndClient.close": "the process ends",
}


@pytest.fixture(scope="module")
def calls() -> SourceCalls:
    return SourceCalls()


def test_every_declared_effect_is_marked_and_every_mark_is_declared(calls: SourceCalls) -> None:
    assert set(calls.marks) == set(EFFECTS)


def test_an_effect_is_marked_in_one_place(calls: SourceCalls) -> None:
    """The two questions to the model are one effect: the same call, made for judging and for working."""
    assert {mark: places for mark, places in calls.marks.items() if len(places) > 1 and mark != "llm.complete"} == {}


def test_every_function_that_changes_rows_runs_in_a_failpoint(calls: SourceCalls) -> None:
    writers = calls.writers()
    assert len(writers) > 40, "the search for statements that change rows has gone blind"
    assert [name for name in writers if name not in calls.by_target] == [], "nobody is seen to call these"
    assert [path for name in writers for path in calls.bare_paths(name, excused=NEEDS_NO_MORE_THAN_THE_COMMIT)] == []


def test_every_call_to_a_client_runs_in_a_failpoint(calls: SourceCalls) -> None:
    outside = calls.outside()
    called = {short(name) for name in outside}
    assert {"Node.add_invoice", "Upstream.complete", "WitnessClient.cosign", "PriceFeeds.quote"} <= called
    guarded = [name for name in outside if short(name) not in CHANGES_NOTHING_OUTSIDE]
    assert [path for name in guarded for path in calls.bare_paths(name, excused=())] == []


def test_no_excuse_is_out_of_date(calls: SourceCalls) -> None:
    known = {short(name) for name in calls.functions}
    assert set(NEEDS_NO_MORE_THAN_THE_COMMIT) <= known
    assert set(CHANGES_NOTHING_OUTSIDE) <= {short(name) for name in calls.outside()}
    for excuse in NEEDS_NO_MORE_THAN_THE_COMMIT:
        others = set(NEEDS_NO_MORE_THAN_THE_COMMIT) - {excuse}
        assert [path for name in calls.writers() for path in calls.bare_paths(name, excused=others)], excuse


def test_a_point_that_no_effect_has_cannot_be_armed() -> None:
    for wrong in ("before:nothing=crash", "db.commit=crash", "before:db.commit=sleep"):
        with pytest.raises(ValueError, match="unknown failpoint"):
            arm(wrong)
    assert len(points()) == 2 * len(EFFECTS) == 2 * len(set(EFFECTS))
