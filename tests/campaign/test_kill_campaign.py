"""Under load through the API, everything is killed, frozen, emptied, cut and repeated: nothing accepted is lost, doubled or stuck.

`LUCID_SEED` repeats a run's choices; `LUCID_SOAK=1` goes on until a thousand kills, or until `LUCID_KILLS` of them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.arena import Arena, running_arena
from tests.campaign.crowd import Crowd
from tests.campaign.faults import FAULTS, KILLS
from tests.campaign.run_audit import require_nothing_kept_of_sealed, require_one_run_a_key, require_told_the_truth

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
SEED = int(os.environ.get("LUCID_SEED", "20261122"))
FULL_KILLS = int(os.environ.get("LUCID_KILLS", "1000"))
ROUNDS_OF_A_SAMPLE = 3
FAULTS_OF_A_SOAK_ROUND = 14
HOLDERS = 3
CALLERS = 2
VERIFIERS = 1
# A part that never gets ten quiet seconds is started ever later by its supervisor; attempts are not what is measured here.
SETTINGS = {"MAX_ATTEMPTS": "100", "ADMIN_KEY": ADMIN_KEY}


@dataclass
class Tally:
    """What a campaign did and met."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    sessions: int = 0
    paid_back: dict[str, int] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    """Runs by how they ended."""
    verified: int = 0
    resumed: int = 0
    """How often a verification had failed and was resumed by its caller."""
    refused: int = 0
    taken_over: int = 0
    """Steps that were claimed more than once: somebody died or froze over them."""

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(count for name, count in self.faults.items() if name in KILLS)

    def __str__(self) -> str:
        return (
            f"kill campaign: seed {SEED}, {self.rounds} rounds, {self.faults.total()} faults of {len(self.faults)} kinds, "
            f"{self.kills} of them kills; {self.jobs} jobs accepted and complete, {self.sessions} sessions lived to their end, "
            f"{len(self.paid_back)} refunds and withdrawals paid once; "
            f"{self.runs.total()} runs told of ({', '.join(f'{count} {end}' for end, count in sorted(self.runs.items()))}); "
            f"{self.verified} verifications complete, {self.resumed} resumptions; "
            f"{self.taken_over} steps taken over; {self.refused} creations refused"
        )


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with running_arena(tmp_path_factory.mktemp("arena"), **SETTINGS) as running:
        yield running


def rounds(random: Random, tally: Tally) -> Iterator[list[str]]:
    """Yield the faults of each round: a sample has every kind once, a soak goes on until it has killed enough."""
    if not IS_SOAK:
        names = sorted(FAULTS)
        random.shuffle(names)
        for first in range(ROUNDS_OF_A_SAMPLE):
            yield names[first::ROUNDS_OF_A_SAMPLE]
        return
    while tally.kills < FULL_KILLS:
        of_all, kills = sorted(FAULTS), sorted(KILLS)
        yield [random.choice(kills if random.random() < 0.8 else of_all) for _ in range(FAULTS_OF_A_SOAK_ROUND)]


def test_whatever_breaks_all_that_is_accepted_is_done_once_and_all_that_is_owed_is_paid_once(arena: Arena) -> None:
    random, tally = Random(SEED), Tally()
    for faults in rounds(random, tally):
        play(arena, faults, random, tally)
        if IS_SOAK:
            print(f"\n{tally}", end="", flush=True)
    print(f"\n{tally}")
    if not IS_SOAK:
        assert set(tally.faults) == set(FAULTS)


def play(arena: Arena, faults: list[str], random: Random, tally: Tally) -> None:
    """One round: customers, faults among them, quiet, and the books."""
    pause = threading.Event()
    arena.slow_the_model()
    with Crowd(arena.endpoints, holders=HOLDERS, callers=CALLERS, verifiers=VERIFIERS, claims=True) as crowd:
        for name in faults:
            pause.wait(random.uniform(0.3, 1.5))
            FAULTS[name](arena, random)
            tally.faults[name] += 1
            if name == "kill sim-model":
                arena.slow_the_model()
    tally.rounds += 1
    tally.jobs += len(crowd.accepted)
    tally.sessions += len(crowd.lived)
    tally.paid_back |= crowd.paid_back
    tally.refused += crowd.refused
    tally.verified += crowd.verified
    tally.resumed += crowd.resumed
    tally.runs.update(told.end for told in crowd.held.values())
    assert crowd.faults == [], f"after {faults}"
    assert set(crowd.ended) == set(crowd.accepted)
    assert {shown["state"] for shown in crowd.ended.values()} == {"complete"}, f"after {faults}"
    with arena.auditor() as auditor:
        auditor.require_rest()
        auditor.require_truth()
        auditor.require_paid_back(tally.paid_back)
        require_told_the_truth(auditor.ledger, crowd.held)
        require_one_run_a_key(auditor.ledger, crowd.run_of_trace)
        require_nothing_kept_of_sealed(auditor.ledger)
        for job_id in crowd.accepted:
            auditor.require_done_once(job_id)
        tally.taken_over = auditor.ledger.one("SELECT count(*) FROM steps WHERE fence > 1")
