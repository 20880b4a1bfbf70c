"""Event streams: append in the transaction that moves the owner, announce after its commit, await, replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from shared.db.service import Database, Tx
from shared.events import store
from shared.events.client import Bus
from shared.events.model import Event
from shared.kernel.clock import Clock
from shared.kernel.owner import Owner

Answer = TypeVar("Answer")

HOUR_S = 3600.0
_LOOK_AGAIN_S = 1.0


class Events:
    """Appends to and waits on owners' streams."""

    def __init__(self, database: Database, bus: Bus, *, clock: Clock) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock

    def append(
        self,
        tx: Tx,
        owner: Owner,
        name: str,
        *,
        moved: tuple[str, str] | None = None,
        body: dict[str, Any] | None = None,
        announced: bool = True,
    ) -> None:
        """Append one event in `tx` and, where it is to be `announced`, do so once `tx` has committed.

        Whoever waits looks again each second besides.
        """
        store.append(tx, owner, name, moved=moved, body=body)
        if announced:
            tx.after_commit(lambda: self._bus.announce(owner))

    def announce(self, tx: Tx, owner: Owner) -> None:
        """Wake whoever waits for `owner`, once `tx` has committed, without an event."""
        tx.after_commit(lambda: self._bus.announce(owner))

    def prune(self, tx: Tx, kind: str, *, age_s: float = HOUR_S) -> None:
        """Delete events older than `age_s` seconds of a kind of owner that has no history worth keeping."""
        store.prune(tx, kind, age_s=age_s)

    def replay(self, owner: Owner, *, after: int = 0) -> list[Event]:
        """Return the owner's events after number `after`."""
        with self._database.transaction() as tx:
            return store.replay(tx, owner, after=after)

    def wait(self, owner: Owner, *, look: Callable[[], Answer | None], deadline_s: float) -> Answer | None:
        """Return `look()` as soon as it is not None, looking again at each announcement; None once `deadline_s` passed.

        No database connection is held while waiting.
        """
        with self._bus.waiting(owner) as news:
            ends_at = self._clock.monotonic() + deadline_s
            while True:
                news.clear()
                answer = look()
                left_s = ends_at - self._clock.monotonic()
                if answer is not None or left_s <= 0:
                    return answer
                news.wait(min(left_s, _LOOK_AGAIN_S))
