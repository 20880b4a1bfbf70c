"""Wall clocks are set under load, by a second, by more than a lease, by an hour, there and back: nothing is lost, doubled or stuck.

An hour outlasts an invoice: a job that is not paid by then may end unpaid. What its customer has paid for evaluated work is
earned, everything else he has paid is owed back; the audit counts every millisatoshi.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random

import httpx
import pytest

from shared.agent.evaluation import NOT_PRICED
from shared.agent.funding import EXPIRED
from shared.kernel.clock import SystemClock
from tests.campaign.arena import Arena, running_arena
from tests.campaign.clocks import COMPILER, Clocks
from tests.campaign.crowd import Crowd
from tests.campaign.faults import database
from tests.campaign.jumps import GROSS, HOUR_S, SLIGHT, Jump

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
SEED = int(os.environ.get("LUCID_SEED", "20261122"))
ROUNDS_OF_A_SOAK = 6
READ_WITHIN_S = 30.0
SETTINGS = {"MAX_ATTEMPTS": "100"}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="clocks are set by a library that a C compiler makes first")


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    clocks = Clocks.made_in(tmp_path_factory.mktemp("clocks"))
    with running_arena(tmp_path_factory.mktemp("arena"), clocks=clocks, **SETTINGS) as running:
        yield running


def test_whoever_runs_by_a_clock_that_is_set_sees_it_at_once(arena: Arena) -> None:
    clocks, machine = arena.require_clocks(), SystemClock()

    def of_the_application() -> datetime:
        shown = httpx.get(f"{arena.endpoints['web']}/health", trust_env=False).json()["timestamp"]
        return datetime.fromisoformat(shown)

    def of_the_stores() -> datetime:
        with database(arena) as connection:
            return datetime.fromisoformat(connection.execute("SELECT to_json(clock_timestamp())").fetchall()[0][0])

    for clock, read in ((clocks.application, of_the_application), (clocks.stores, of_the_stores)):
        for ahead_s in (HOUR_S, -HOUR_S, 0.0):
            clock.put(ahead_s)
            assert abs((read() - machine.now()).total_seconds() - ahead_s) < READ_WITHIN_S


def test_clocks_set_by_less_than_an_invoice_lasts_leave_every_job_done_once(arena: Arena) -> None:
    campaign(arena, SLIGHT, require_all_done)


def test_clocks_set_by_an_hour_leave_every_job_ended_and_every_payment_earned_or_owed(arena: Arena) -> None:
    campaign(arena, GROSS, require_all_ended)


def campaign(arena: Arena, jumps: dict[str, Jump], require: Callable[[Arena, Crowd], None]) -> None:
    """Play each of `jumps` once, in a soak several times."""
    random, ends, taken_over = Random(SEED), Counter[str](), 0
    for _ in range(ROUNDS_OF_A_SOAK if IS_SOAK else 1):
        names = sorted(jumps)
        random.shuffle(names)
        crowd = play(arena, names, jumps, random)
        require(arena, crowd)
        ends.update(shown["state"] for shown in crowd.ended.values())
        with arena.auditor() as auditor:
            taken_over = auditor.ledger.one("SELECT count(*) FROM steps WHERE owner_kind = 'job' AND fence > 1")
    print(f"\nclock jumps: seed {SEED}, {len(jumps)} kinds; jobs {dict(ends)}; {taken_over} steps taken over so far")


def play(arena: Arena, names: list[str], jumps: dict[str, Jump], random: Random) -> Crowd:
    """One round: customers, jumps among them, right time, and the books."""
    pause = threading.Event()
    arena.slow_the_model()
    with Crowd(arena.endpoints) as crowd:
        for name in names:
            jumps[name](arena, random)
            pause.wait(random.uniform(0.5, 1.5))
    assert crowd.faults == [], f"after {names}"
    assert set(crowd.ended) == set(crowd.accepted)
    with arena.auditor() as auditor:
        auditor.require_rest()
        auditor.require_truth()
        for job_id in crowd.in_state("complete"):
            auditor.require_done_once(job_id)
    return crowd


def require_all_done(_: Arena, crowd: Crowd) -> None:
    assert len(crowd.in_state("complete")) == len(crowd.accepted) > 0


def require_all_ended(arena: Arena, crowd: Crowd) -> None:
    unpaid = crowd.in_state("failed")
    assert len(unpaid) + len(crowd.in_state("complete")) == len(crowd.accepted) > len(unpaid)
    assert {crowd.ended[job_id]["errorMessage"] for job_id in unpaid} <= {*EXPIRED.values(), NOT_PRICED}
    with arena.auditor() as auditor:
        for job_id in unpaid:
            auditor.require_ended_unpaid(job_id)
