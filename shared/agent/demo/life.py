"""How a free call moves: one function."""

from __future__ import annotations

from shared.agent.demo import store
from shared.agent.demo.model import DEMO_TRANSITIONS, Demo, DemoEvent
from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.transitions import next_state


def move(
    tx: Tx, events: Events, demo: Demo, event: DemoEvent, *, reason: str | None = None, result: str | None = None
) -> None:
    """Move a locked call and write its history. Raises `TransitionConflict`."""
    to_state = next_state(DEMO_TRANSITIONS, demo.state, event)
    store.move_demo(tx, demo, to_state, reason=reason, result=result)
    events.append(tx, demo.owner, event, moved=(demo.state, to_state))
