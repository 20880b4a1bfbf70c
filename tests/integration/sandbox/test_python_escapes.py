"""Hostile Python: each piece comes to the end it must, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_python import HOSTILE, Hostile

from shared.sandbox.model import Language, Limits, Outcome, Probe
from shared.sandbox.service import Sandboxes
from tests.processes import children_of

PATIENT = Limits(memory_mb=128, output_bytes=16 * 1024)
HASTY = Limits(wall_s=1.5, cpu_s=1, memory_mb=128, output_bytes=16 * 1024)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children_of(os.getpid())
    yield
    assert children_of(os.getpid()) <= before
    assert not Path("escaped").exists()
    assert not Path("escaped.txt").exists()
    assert list(Path("/var/tmp").glob("escaped*")) == []  # noqa: S108 - where the hostile programs try to write


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 40
    assert len({row.name for row in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.name.replace(" ", "-"))
def test_a_hostile_program_is_contained_and_named_for_what_it_did(row: Hostile, sandboxes: Sandboxes) -> None:
    limits = HASTY if Outcome.TIMED_OUT in row.outcomes else PATIENT
    ran = sandboxes.run(Language.PYTHON, row.code, [Probe(row.call)], limits=limits)
    [seen] = ran.observations
    assert seen.outcome in row.outcomes, seen
    assert row.says in f"{seen.actual} {seen.error}", seen


def test_after_all_of_them_a_plain_probe_still_works(sandboxes: Sandboxes) -> None:
    ran = sandboxes.run(Language.PYTHON, "def add(a, b):\n    return a + b\n", [Probe("add(2, 3)", "5")])
    [seen] = ran.observations
    assert (seen.outcome, seen.actual, seen.matches) == (Outcome.RETURNED, "5", True)
