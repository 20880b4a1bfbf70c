"""The database's clock is set back, as a step of NTP or a failover does: nothing waits for that much longer.

Seen from the rows, a clock that is set back is the same as every stamp lying that much further ahead.
"""

from __future__ import annotations

from collections.abc import Callable

from config.queues import TICK
from config.schedule import Tick
from shared.db.service import Database
from shared.kernel.owner import Owner
from shared.lightning import store as invoices
from shared.receipts import store as receipts
from shared.work.model import Outcome, StepRef
from shared.work.service import Work
from tests.e2e.patience import at_once

MakeWork = Callable[..., Work]

HOUR_S = 3600.0
RESCUE = Tick("work.rescue", 5, TICK)
STEP = StepRef("job", 1, "evaluate")
STAMPS = {
    "schedule": ("next_run", "last_run"),
    "steps": ("not_before", "rung_at", "lease_until", "created_at"),
    "outbox": ("available_at",),
    "invoices": ("next_check", "nudged_at"),
    "epochs": ("opened_at",),
}


def set_clock_back(database: Database) -> None:
    with database.transaction() as tx:
        for table, stamps in STAMPS.items():
            moved = ", ".join(f"{stamp} = {stamp} + interval '1 hour'" for stamp in stamps)
            tx.run(f"UPDATE {table} SET {moved}")  # noqa: S608 - our own names


def take_turn(work: Work) -> None:
    assert work.tick(RESCUE, lambda _tx: None, on_set_back=work.follow_clock)


def do(work: Work) -> Outcome:
    return work.perform(
        STEP, effect=lambda _: None, finish=lambda _tx, _nothing: None, give_up=lambda _tx, _reason: None
    )


def test_a_turn_is_due_at_once_and_is_told_once(database: Database, make_work: MakeWork) -> None:
    works = [make_work() for _ in range(4)]
    told: list[str] = []

    def turn(work: Work) -> bool:
        return work.tick(RESCUE, lambda _tx: None, on_set_back=lambda _tx: told.append("set back"))

    assert (turn(works[0]), told) == (True, [])
    set_clock_back(database)
    turns = at_once(*(lambda work=work: turn(work) for work in works))
    assert sorted(turns) == [False, False, False, True]
    assert told == ["set back"]
    assert not turn(works[0])


def test_a_step_and_its_message_wait_no_longer(database: Database, work: Work) -> None:
    take_turn(work)
    with database.transaction() as tx:
        work.start(tx, STEP)
    set_clock_back(database)
    assert do(work) is Outcome.NOT_MINE
    assert work.relay(lambda _message: None) == 0
    take_turn(work)
    assert work.relay(lambda _message: None) == 1
    assert do(work) is Outcome.APPLIED


def test_what_a_clock_put_off_that_ran_ahead_between_two_turns_is_brought_back_by_the_next(
    database: Database, work: Work
) -> None:
    with database.transaction() as tx:
        work.start(tx, STEP)
    set_clock_back(database)
    with database.transaction() as tx:
        work.rescue(tx)
    assert work.relay(lambda _message: None) == 1
    assert do(work) is Outcome.APPLIED


def test_what_is_put_off_for_a_reason_stays_so(database: Database, work: Work) -> None:
    with database.transaction() as tx:
        work.ring(tx, STEP, delay_s=3600)
    with database.transaction() as tx:
        work.rescue(tx)
    assert work.relay(lambda _message: None) == 0


def test_a_dead_owner_holds_his_lease_no_longer_than_any_other(database: Database, make_work: MakeWork) -> None:
    work = make_work()
    take_turn(work)
    with database.transaction() as tx:
        work.start(tx, STEP)
        tx.run("UPDATE steps SET state = 'running', fence = 1, lease_until = now()")
    set_clock_back(database)
    take_turn(work)
    with database.transaction() as tx:
        (row,) = tx.all("SELECT extract(epoch FROM lease_until - now())::float8 AS left_s, fence FROM steps")
    assert row["left_s"] <= work._limits.lease_s
    assert row["fence"] == 1, "a living owner keeps his step"


def test_invoices_are_looked_at_no_later(database: Database) -> None:
    with database.transaction() as tx:
        tx.run(
            """INSERT INTO invoices (owner_kind, owner_id, purpose, preimage_salt, payment_hash, amount_msat, memo, expires_at,
                                     payment_request, nudged_at)
               VALUES ('job', 1, 'eval', sha256('salt'), sha256('hash'), 1, '', now() + interval '15 min', 'lnbcrt1', now())"""
        )
    set_clock_back(database)
    with database.transaction() as tx:
        assert not invoices.anything_due(tx)
        assert invoices.recall(tx, everything=False) == 1
        assert invoices.anything_due(tx)
        assert len(invoices.claim_nudge(tx, Owner("job", 1))) == 1
        tx.run("UPDATE invoices SET next_check = now() + interval '1 min'")
        assert invoices.recall(tx, everything=False) == 0
        assert invoices.recall(tx, everything=True) == 1


def test_an_epoch_that_seems_to_begin_later_is_old_enough(database: Database) -> None:
    with database.transaction() as tx:
        receipts.open_first_epoch(tx, "epoch_1")
    set_clock_back(database)
    with database.transaction() as tx:
        found = receipts.lock_open_epoch(tx)
    assert found is not None
    assert found[1] > HOUR_S
