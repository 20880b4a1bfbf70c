"""The outbox and the ticks: what commits is published at least once, and one process has each turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from config.logging import correlated, correlation_id
from config.queues import TICK
from config.schedule import Tick
from shared.db.service import Database, Tx
from shared.kernel.errors import Unavailable
from shared.work.model import Message, StepRef
from shared.work.service import Work
from tests.e2e.patience import at_once

MakeWork = Callable[..., Work]


def ring(database: Database, work: Work, *ids: int, delay_s: float = 0) -> None:
    with database.transaction() as tx:
        for number in ids:
            work.ring(tx, StepRef("job", number, "evaluate"), delay_s=delay_s)


def left(database: Database) -> int:
    with database.transaction() as tx:
        return len(tx.all("SELECT id FROM outbox"))


def test_the_relay_publishes_in_order_and_deletes_what_it_published(database: Database, work: Work) -> None:
    ring(database, work, 3, 1, 2)
    published: list[Message] = []
    assert work.relay(published.append, batch=2) == 2
    assert left(database) == 1
    assert work.relay(published.append, batch=2) == 1
    assert [message.ref for message in published] == [StepRef("job", number, "evaluate") for number in (3, 1, 2)]
    assert work.relay(published.append) == 0


def test_a_message_that_could_not_be_published_stays(database: Database, work: Work) -> None:
    ring(database, work, 1, 2, 3)
    published: list[int] = []

    def broken(message: Message) -> None:
        if message.ref.owner_id == 2:
            raise Unavailable("the broker is away")
        published.append(message.ref.owner_id)

    with pytest.raises(Unavailable):
        work.relay(broken)
    assert left(database) == 3
    work.relay(lambda message: published.append(message.ref.owner_id))
    assert published == [1, 1, 2, 3], "at least once, and in order"
    assert left(database) == 0


def test_a_message_for_later_waits(database: Database, work: Work) -> None:
    ring(database, work, 1, delay_s=60)
    ring(database, work, 2)
    published: list[int] = []
    assert work.relay(lambda message: published.append(message.ref.owner_id)) == 1
    assert published == [2]
    assert left(database) == 1


def test_two_relays_at_once_publish_each_message_once(database: Database, make_work: MakeWork) -> None:
    works = [make_work() for _ in range(2)]
    ring(database, works[0], *range(200))
    published: list[int] = []

    def drain(work: Work) -> int:
        total = 0
        while done := work.relay(lambda message: published.append(message.ref.owner_id), batch=20):
            total += done
        return total

    assert sum(at_once(*(lambda work=work: drain(work) for work in works))) == 200
    assert sorted(published) == list(range(200))


def test_the_correlation_id_travels_with_the_message_and_the_claim(database: Database, work: Work) -> None:
    with correlated("the-request"), database.transaction() as tx:
        work.start(tx, StepRef("job", 1, "evaluate"))
    published: list[Message] = []
    work.relay(published.append)
    assert [message.cid for message in published] == ["the-request"]
    claimed: list[str] = []
    work.perform(
        StepRef("job", 1, "evaluate"),
        effect=lambda claim: claimed.append(claim.cid),
        finish=lambda _tx, _nothing: None,
        give_up=lambda _tx, _reason: None,
    )
    assert claimed == ["the-request"]


def test_a_step_is_logged_under_the_request_that_caused_it_whosever_message_came_first(
    database: Database, work: Work
) -> None:
    """Two requests may each send a chain over the same settled invoice: the other's link can be the one that claims."""
    with correlated("the-request"), database.transaction() as tx:
        work.start(tx, StepRef("job", 1, "evaluate"))
    bound: list[str] = []

    def finish(tx: Tx, _nothing: None) -> None:
        bound.append(correlation_id())
        work.start(tx, StepRef("job", 1, "work"))

    with correlated("another"):
        work.perform(
            StepRef("job", 1, "evaluate"),
            effect=lambda _claim: bound.append(correlation_id()),
            finish=finish,
            give_up=lambda _tx, _reason: None,
        )
        assert correlation_id() == "another"
    assert bound == ["the-request"] * 2
    with database.transaction() as tx:
        assert [row["cid"] for row in tx.all("SELECT cid FROM steps ORDER BY id")] == ["the-request"] * 2


def test_a_tick_that_comes_four_times_at_once_acts_once(make_work: MakeWork) -> None:
    tick = Tick("epochs.close", 60, TICK)
    acted: list[str] = []
    works = [make_work() for _ in range(4)]
    turns = at_once(*(lambda work=work: work.tick(tick, lambda _tx: acted.append("acted")) for work in works))
    assert sorted(turns) == [False, False, False, True]
    assert acted == ["acted"]
    assert not works[0].tick(tick, lambda _tx: acted.append("again"))


def test_a_tick_whose_action_fails_is_due_again(work: Work) -> None:
    tick = Tick("epochs.close", 60, TICK)

    def fail(_tx: object) -> None:
        raise Unavailable("not now")

    with pytest.raises(Unavailable):
        work.tick(tick, fail)
    assert work.tick(tick, lambda _tx: None)
