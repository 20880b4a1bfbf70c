"""A life is one table: (state, event) → state. Nobody assigns a state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from shared.kernel.errors import TransitionConflict

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


def next_state(table: Mapping[tuple[State, Event], State], state: State, event: Event) -> State:
    """Return where `event` leads from `state`. Raises `TransitionConflict` where the table has no such move."""
    try:
        return table[state, event]
    except KeyError:
        raise TransitionConflict(f"{event} does not happen in {state}") from None


def terminal(table: Mapping[tuple[State, Event], State], states: type[State]) -> frozenset[State]:
    """Return the states that no event leaves."""
    return frozenset(states) - frozenset(state for state, _ in table)
