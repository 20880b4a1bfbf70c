"""Clocks that are set: whose, by how much, and back again while work goes on. A jump there and back goes both ways."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

from tests.campaign.arena import Arena
from tests.campaign.clocks import Clocks, WallClock
from tests.campaign.faults import another, database
from tests.e2e.patience import eventually

Jump = Callable[[Arena, Random], None]

HOUR_S = 3600.0
LONGER_THAN_A_LEASE_S = 10.0
WITHIN_A_LEASE_S = 1.0
PLACES: dict[str, Callable[[Clocks], tuple[WallClock, ...]]] = {
    "the application": lambda clocks: (clocks.application,),
    "the stores": lambda clocks: (clocks.stores,),
    "the nodes": lambda clocks: (clocks.nodes,),
    "everything": lambda clocks: (clocks.application, clocks.stores, clocks.nodes),
}
MORTAL = ("worker-llm", "worker-money", "relay", "invoices")
_TICKS_WITHIN_S = 30.0


def jump(place: str, ahead_s: float, *, kills: bool = False) -> Jump:
    """Return the fault that sets a place's clock and, a few seconds later, sets it right.

    `kills`: somebody dies in between, so that what he held was stamped by the wrong clock and is judged by the right one.
    """

    def jumped(arena: Arena, random: Random) -> None:
        pause = threading.Event()
        clocks = PLACES[place](arena.require_clocks())
        _put(clocks, ahead_s)
        try:
            pause.wait(random.uniform(1.0, 2.0))
            if kills:
                arena.process(random.choice(MORTAL)).kill()
                pause.wait(random.uniform(0.5, 1.5))
        finally:
            _put(clocks, 0)

    return jumped


def scheduler_behind(arena: Arena, _: Random) -> None:
    """Leave the ringing to a beat whose host's clock is an hour behind: what it sends must not be taken for out of date."""
    clock = arena.require_clocks().scheduler
    clock.put(-HOUR_S)
    first = arena.process("beat")
    first.stop(keep_down=True)
    try:
        with another(arena, "beat", **clock.environment), database(arena) as connection:
            turns = "SELECT last_run FROM schedule WHERE name = 'work.rescue'"
            before = connection.execute(turns).fetchone()
            eventually(lambda: connection.execute(turns).fetchone() != before, what="a tick", within_s=_TICKS_WITHIN_S)
    finally:
        first.start()


def _put(clocks: tuple[WallClock, ...], ahead_s: float) -> None:
    for clock in clocks:
        clock.put(ahead_s)


SLIGHT: dict[str, Jump] = {
    f"{place} {ahead_s:+g} s": jump(place, ahead_s, kills=abs(ahead_s) > WITHIN_A_LEASE_S)
    for place in ("the application", "the stores", "everything")
    for size_s in (WITHIN_A_LEASE_S, LONGER_THAN_A_LEASE_S)
    for ahead_s in (size_s, -size_s)
}
"""No invoice expires by these: every job must be done."""

GROSS: dict[str, Jump] = {
    **{
        f"{place} {ahead_s / HOUR_S:+g} h": jump(place, ahead_s, kills=True)
        for place in PLACES
        for ahead_s in (HOUR_S, -HOUR_S)
    },
    "a scheduler an hour behind": scheduler_behind,
}
"""These outlast an invoice: whoever has not paid yet may find his job ended unpaid."""
