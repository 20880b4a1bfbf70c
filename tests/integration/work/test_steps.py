"""Steps on a real PostgreSQL: one owner at a time, fences, leases, retries, quarantine, rescue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from shared.db.service import Database, Tx
from shared.kernel.errors import IntegrityFault, Unavailable
from shared.work import store
from shared.work.model import Claim, LeaseLost, Outcome, RetryLater, ShuttingDown, StepFailed, StepRef, StepState
from shared.work.service import POISONED, Work
from tests.e2e.patience import at_once, eventually

REF = StepRef("job", 1, "evaluate")
MakeWork = Callable[..., Work]
MakeDatabase = Callable[[], Database]


@pytest.fixture
def queued(database: Database, work: Work) -> StepRef:
    """A step that waits to be claimed."""
    with database.transaction() as tx:
        assert work.start(tx, REF)
    return REF


def row(database: Database) -> dict[str, Any]:
    with database.transaction() as tx:
        found = tx.one("SELECT *, extract(epoch FROM not_before - now()) AS waits_s FROM steps")
    assert found is not None
    return found


def rung(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as tx:
        return tx.all("SELECT topic, extract(epoch FROM available_at - now()) AS waits_s FROM outbox ORDER BY id")


def clear_outbox(database: Database) -> None:
    with database.transaction() as tx:
        tx.run("DELETE FROM outbox")


def let_lease_lapse(database: Database) -> None:
    """What time does to the lease of a process that is frozen or dead."""
    with database.transaction() as tx:
        assert tx.run("UPDATE steps SET lease_until = now() - interval '1 s' WHERE state = 'running'") == 1


def claim(database: Database) -> Claim | None:
    with database.transaction() as tx:
        return store.claim(tx, REF, lease_s=60)


def nothing(_tx: Tx, _result: object) -> None:
    """A finish without consequences."""


def never(*_: object) -> NoReturn:
    raise AssertionError("this must not be called")


class Slow:
    """An effect that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.claim: Claim | None = None

    def __call__(self, claim: Claim) -> str:
        self.claim = claim
        self.begun.set()
        assert self.may_end.wait(10)
        return "done late"


@contextmanager
def under_way(work: Work, slow: Slow, *, finish: Callable[[Tx, str], None] = nothing) -> Any:
    """Perform the step in a thread of its own; yields the outcomes, filled in after the block."""
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(work.perform(REF, effect=slow, finish=finish, give_up=never))
    )
    thread.start()
    assert slow.begun.wait(10)
    yield outcomes
    slow.may_end.set()
    thread.join(10)


@pytest.mark.usefixtures("queued")
def test_of_two_connections_that_claim_at_once_one_wins(make_database: MakeDatabase) -> None:
    databases = [make_database() for _ in range(2)]
    for round_number in range(1, 6):
        claims = at_once(*(lambda database=database: claim(database) for database in databases))
        (won,) = [found for found in claims if found is not None]
        assert won.fence == round_number
        let_lease_lapse(databases[0])


@pytest.mark.usefixtures("queued")
def test_a_step_that_is_delivered_eight_times_at_once_takes_effect_once(make_work: MakeWork) -> None:
    effects: list[int] = []
    works = [make_work() for _ in range(4)]
    deliveries = [
        lambda work=work: work.perform(
            REF, effect=lambda held: effects.append(held.fence), finish=nothing, give_up=never
        )
        for work in works * 2
    ]
    outcomes = at_once(*deliveries)
    assert sorted(outcomes) == sorted([Outcome.APPLIED] + [Outcome.NOT_MINE] * 7)
    assert effects == [1]


@pytest.mark.usefixtures("queued")
def test_a_step_that_is_done_is_done_for_good(database: Database, work: Work) -> None:
    assert work.perform(REF, effect=lambda _: "x", finish=nothing, give_up=never) is Outcome.APPLIED
    assert work.perform(REF, effect=never, finish=never, give_up=never) is Outcome.NOT_MINE
    with database.transaction() as tx:
        assert not work.start(tx, REF)
    assert row(database)["state"] == StepState.DONE


@pytest.mark.usefixtures("queued")
def test_a_stale_fence_ends_retries_and_renews_nothing(database: Database) -> None:
    first = claim(database)
    let_lease_lapse(database)
    second = claim(database)
    assert first is not None
    assert second is not None
    assert second.fence == first.fence + 1
    with database.transaction() as tx:
        assert not store.end(tx, first, StepState.DONE)
        assert not store.put_back(tx, first, delay_s=0, forgiven=True, fault="")
        assert not store.renew(tx, first, lease_s=60)
        assert store.renew(tx, second, lease_s=60)
        assert store.end(tx, second, StepState.DONE)


@pytest.mark.usefixtures("queued")
def test_a_live_lease_keeps_others_away(database: Database, work: Work) -> None:
    assert claim(database) is not None
    assert work.perform(REF, effect=never, finish=never, give_up=never) is Outcome.NOT_MINE


@pytest.mark.usefixtures("queued")
def test_a_lapsed_lease_is_claimable_and_the_old_owner_has_lost(
    database: Database, work: Work, make_work: MakeWork
) -> None:
    finished: list[str] = []
    with under_way(work, Slow(), finish=lambda _tx, result: finished.append(result)) as outcomes:
        let_lease_lapse(database)
        other = make_work().perform(
            REF, effect=lambda _: "done", finish=lambda _tx, result: finished.append(result), give_up=never
        )
        assert other is Outcome.APPLIED
    assert outcomes == [Outcome.LOST]
    assert finished == ["done"]


@pytest.mark.usefixtures("queued")
def test_a_step_outlives_its_lease_while_its_owner_lives(make_work: MakeWork) -> None:
    slow = Slow()
    lease_s = 0.6
    with under_way(make_work(lease_s=lease_s), slow) as outcomes:
        assert not slow.may_end.wait(lease_s * 2)
        assert make_work().perform(REF, effect=never, finish=never, give_up=never) is Outcome.NOT_MINE
    assert outcomes == [Outcome.APPLIED]


@pytest.mark.usefixtures("queued")
def test_a_long_effect_hears_that_its_lease_is_gone(database: Database, make_work: MakeWork) -> None:
    work, slow = make_work(lease_s=0.6), Slow()
    with under_way(work, slow) as outcomes:
        with database.transaction() as tx:
            tx.run("UPDATE steps SET fence = fence + 1")
        assert slow.claim is not None
        assert slow.claim.lost.wait(5)
        with pytest.raises(LeaseLost):
            work.check(slow.claim)
    assert outcomes == [Outcome.LOST]


@pytest.mark.usefixtures("queued")
def test_a_step_whose_owners_all_died_is_quarantined_and_given_up(database: Database, make_work: MakeWork) -> None:
    for _ in range(2):
        assert claim(database) is not None
        let_lease_lapse(database)
    reasons: list[str] = []
    work = make_work(max_attempts=2)
    outcome = work.perform(REF, effect=never, finish=never, give_up=lambda _tx, reason: reasons.append(reason))
    assert outcome is Outcome.QUARANTINED
    assert reasons == [POISONED]
    assert row(database)["state"] == StepState.QUARANTINED
    assert work.perform(REF, effect=never, finish=never, give_up=never) is Outcome.NOT_MINE


def failing(error: Exception) -> Callable[[Claim], object]:
    def effect(_claim: Claim) -> object:
        raise error

    return effect


@pytest.mark.usefixtures("queued")
def test_a_retry_waits_and_rings_when_its_time_has_come(database: Database, work: Work, nudges: list[str]) -> None:
    clear_outbox(database)
    nudges.clear()
    effect = failing(RetryLater("the model is busy", delay_s=30))
    assert work.perform(REF, effect=effect, finish=never, give_up=never) is Outcome.RETRYING
    step = row(database)
    assert (step["state"], step["attempts"], step["fault"]) == (StepState.QUEUED, 1, "the model is busy")
    assert 25 < step["waits_s"] <= 30
    (ring,) = rung(database)
    assert ring["topic"] == "job.evaluate"
    assert 25 < ring["waits_s"] <= 30
    assert nudges == ["nudge"]
    assert work.perform(REF, effect=never, finish=never, give_up=never) is Outcome.NOT_MINE
    assert work.relay(never) == 0


@pytest.mark.usefixtures("queued")
def test_waiting_for_an_outside_condition_is_no_attempt(database: Database, work: Work) -> None:
    for _ in range(5):
        effect = failing(RetryLater("no price", delay_s=0, counts=False))
        assert work.perform(REF, effect=effect, finish=never, give_up=never) is Outcome.RETRYING
    assert row(database)["attempts"] == 0


@pytest.mark.usefixtures("queued")
def test_the_last_attempt_that_fails_is_given_up_for_its_reason(database: Database, make_work: MakeWork) -> None:
    work, reasons = make_work(max_attempts=2), list[str]()
    effect = failing(RetryLater("the model is away", delay_s=0))
    assert work.perform(REF, effect=effect, finish=never, give_up=never) is Outcome.RETRYING
    outcome = work.perform(REF, effect=effect, finish=never, give_up=lambda _tx, reason: reasons.append(reason))
    assert outcome is Outcome.FAILED
    assert reasons == ["the model is away"]
    assert row(database)["state"] == StepState.FAILED


@pytest.mark.usefixtures("queued")
def test_what_can_never_succeed_is_given_up_at_once(database: Database, work: Work) -> None:
    reasons: list[str] = []
    outcome = work.perform(
        REF,
        effect=failing(StepFailed("it is refused")),
        finish=never,
        give_up=lambda _tx, reason: reasons.append(reason),
    )
    assert (outcome, reasons) == (Outcome.FAILED, ["it is refused"])
    assert row(database)["attempts"] == 1


@pytest.mark.usefixtures("queued")
def test_an_accident_counts_as_an_attempt_and_is_tried_again_later(database: Database, work: Work) -> None:
    assert work.perform(REF, effect=failing(ValueError("oops")), finish=never, give_up=never) is Outcome.RETRYING
    step = row(database)
    assert (step["state"], step["attempts"], step["fault"]) == (StepState.QUEUED, 1, "ValueError")
    assert 1 < step["waits_s"] <= 2


@pytest.mark.usefixtures("queued")
def test_a_process_that_stops_gives_its_step_back_as_if_never_tried(
    database: Database, work: Work, make_work: MakeWork
) -> None:
    work.stopping.set()
    assert work.perform(REF, effect=lambda _: "x", finish=never, give_up=never) is Outcome.RELEASED
    assert row(database)["attempts"] == 0
    assert rung(database)[-1]["waits_s"] <= 0
    other = make_work()
    assert other.perform(REF, effect=failing(ShuttingDown("stop")), finish=never, give_up=never) is Outcome.RELEASED
    assert other.perform(REF, effect=lambda _: "x", finish=nothing, give_up=never) is Outcome.APPLIED


@pytest.mark.usefixtures("queued")
def test_what_is_done_is_stored_although_the_process_stops(work: Work) -> None:
    def effect(_claim: Claim) -> str:
        work.stopping.set()
        return "paid for"

    finished: list[str] = []
    outcome = work.perform(REF, effect=effect, finish=lambda _tx, result: finished.append(result), give_up=never)
    assert (outcome, finished) == (Outcome.APPLIED, ["paid for"])


@pytest.mark.usefixtures("queued")
def test_a_part_that_is_away_is_no_attempt_of_the_step(database: Database, work: Work) -> None:
    effect = failing(Unavailable("the database does not answer"))
    assert work.perform(REF, effect=effect, finish=never, give_up=never) is Outcome.RETRYING
    step = row(database)
    assert (step["state"], step["attempts"]) == (StepState.QUEUED, 0)


@pytest.mark.usefixtures("queued")
def test_a_finish_that_fails_leaves_nothing_of_itself_and_is_tried_again(
    database: Database, work: Work, make_work: MakeWork
) -> None:
    def half_done(tx: Tx, _result: object) -> None:
        work.ring(tx, StepRef("job", 2, "execute"))
        raise IntegrityFault("half way")

    clear_outbox(database)
    assert work.perform(REF, effect=lambda _: "x", finish=half_done, give_up=never) is Outcome.RETRYING
    assert [ring["topic"] for ring in rung(database)] == ["job.evaluate"]
    step = row(database)
    assert (step["state"], step["attempts"], step["fault"]) == (StepState.QUEUED, 1, "IntegrityFault")
    with database.transaction() as tx:
        tx.run("UPDATE steps SET not_before = now()")
    assert make_work().perform(REF, effect=lambda _: "x", finish=nothing, give_up=never) is Outcome.APPLIED


@pytest.mark.usefixtures("queued")
def test_a_step_that_cannot_even_be_given_up_stops_coming_back(database: Database, make_work: MakeWork) -> None:
    def broken(_tx: Tx, _reason: str) -> None:
        raise IntegrityFault("its owner is in no state for this")

    work = make_work(max_attempts=1)
    assert claim(database) is not None
    let_lease_lapse(database)
    assert work.perform(REF, effect=never, finish=never, give_up=broken) is Outcome.QUARANTINED
    step = row(database)
    assert step["state"] == StepState.QUARANTINED
    assert "IntegrityFault" in step["fault"]


def test_a_step_and_its_bell_are_committed_together_or_not_at_all(
    database: Database, work: Work, nudges: list[str]
) -> None:
    def start_and_fail(tx: Tx) -> None:
        work.start(tx, REF)
        raise IntegrityFault("the owner's move failed")

    with pytest.raises(IntegrityFault):
        with database.transaction() as tx:
            start_and_fail(tx)
    with database.transaction() as tx:
        assert tx.all("SELECT 1 FROM steps UNION ALL SELECT 1 FROM outbox") == []
    assert nudges == []
    with database.transaction() as tx:
        assert work.start(tx, REF)
        assert not work.start(tx, REF)
    assert [ring["topic"] for ring in rung(database)] == ["job.evaluate"]
    assert nudges == ["nudge"]


def queue_steps(database: Database, work: Work, *names: str) -> None:
    with database.transaction() as tx:
        for name in names:
            work.follow(tx, StepRef("job", 1, name))


def test_rescue_rings_what_is_stuck_and_nothing_else(database: Database, make_work: MakeWork) -> None:
    work = make_work(rescue_after_s=30)
    queue_steps(database, work, "waiting", "just_rung", "dead", "alive", "done")
    with database.transaction() as tx:
        tx.run("UPDATE steps SET rung_at = now() - interval '1 min' WHERE name <> 'just_rung'")
        tx.run("UPDATE steps SET state = 'running', lease_until = now() - interval '1 s' WHERE name = 'dead'")
        tx.run("UPDATE steps SET state = 'running', lease_until = now() + interval '1 min' WHERE name = 'alive'")
        tx.run("UPDATE steps SET state = 'done', ended_at = now() WHERE name = 'done'")
    with database.transaction() as tx:
        assert work.rescue(tx) == 2
    assert sorted(ring["topic"] for ring in rung(database)) == ["job.dead", "job.waiting"]
    with database.transaction() as tx:
        assert work.rescue(tx) == 0


def test_two_rescuers_at_once_ring_a_stuck_step_once(database: Database, make_work: MakeWork) -> None:
    work = make_work(rescue_after_s=30)
    queue_steps(database, work, *(f"step_{letter}" for letter in "abcdefgh"))
    with database.transaction() as tx:
        tx.run("UPDATE steps SET rung_at = now() - interval '1 min'")

    def rescue() -> int:
        with database.transaction() as tx:
            return work.rescue(tx)

    assert sum(at_once(rescue, rescue, rescue)) == 8
    assert len(rung(database)) == 8


def test_a_retry_that_waits_is_not_rescued_before_its_time(database: Database, make_work: MakeWork) -> None:
    work = make_work(rescue_after_s=1)
    with database.transaction() as tx:
        work.start(tx, REF)
    work.perform(REF, effect=failing(RetryLater("busy", delay_s=60)), finish=never, give_up=never)
    with database.transaction() as tx:
        assert work.rescue(tx) == 0


def test_a_queue_is_silent_until_its_canary_sings(work: Work) -> None:
    assert work.silent_queues(["llm", "money"]) == ["llm", "money"]
    work.sing("llm")
    assert work.silent_queues(["llm", "money"]) == ["money"]


def test_a_lease_that_was_kept_is_let_go_after_the_step(database: Database, make_work: MakeWork) -> None:
    work = make_work(lease_s=0.3)
    with database.transaction() as tx:
        work.start(tx, REF)
    work.perform(REF, effect=lambda _: "x", finish=nothing, give_up=never)
    assert eventually(lambda: row(database)["state"] == StepState.DONE, what="the end")
    assert row(database)["lease_until"] is None
