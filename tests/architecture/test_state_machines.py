"""The transition tables: no state is cut off, and the page drawn from them is the one in the repository."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import pytest

from cli.diagrams import MACHINES, PAGE, Machine, render
from tests.architecture.source_tree import ROOT, python_files

EACH = pytest.mark.parametrize("machine", MACHINES, ids=[machine.title for machine in MACHINES])


def reachable(machine: Machine, starts: Iterable[StrEnum]) -> set[StrEnum]:
    seen, waiting = set(starts), list(starts)
    while waiting:
        state = waiting.pop()
        following = {to_state for (from_state, _), to_state in machine.table.items() if from_state is state} - seen
        seen |= following
        waiting += following
    return seen


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run `lucid diagrams`"


def test_every_table_of_transitions_is_on_the_page() -> None:
    tables = {
        f"{path.relative_to(ROOT).as_posix()}"
        for path in python_files("shared")
        if path.name == "model.py" and "_TRANSITIONS = {" in path.read_text(encoding="utf-8")
    }
    assert {machine.source for machine in MACHINES} == tables
    declared = sum((ROOT / table).read_text(encoding="utf-8").count("_TRANSITIONS = {") for table in tables)
    assert declared == len(MACHINES)


@EACH
def test_every_state_can_be_reached_from_the_first(machine: Machine) -> None:
    assert reachable(machine, [machine.first]) == set(machine.states)


@EACH
def test_an_end_can_be_reached_from_every_state(machine: Machine) -> None:
    assert [state for state in machine.states if not reachable(machine, [state]) & machine.ends] == []


@EACH
def test_every_event_happens_somewhere(machine: Machine) -> None:
    happening = {event for _, event in machine.table}
    declared = {event for kind in {type(event) for event in happening} for event in kind}
    assert declared == happening
