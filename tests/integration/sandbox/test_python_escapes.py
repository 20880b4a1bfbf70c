"""Hostile Python: each piece comes to the end it must, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hostile_python import HOSTILE, Hostile

from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe
from shared.sandbox.service import Sandboxes
from tests.processes import children_of

PATIENT = Limits(memory_mb=128, output_bytes=16 * 1024)
HASTY = Limits(wall_s=1.5, cpu_s=1, memory_mb=128, output_bytes=16 * 1024)


@pytest.fixture(scope="module")
def seen(sandboxes: Sandboxes) -> Iterator[dict[str, Observation]]:
    """What each program gave, two at a time, and nothing is left of them."""
    before = children_of(os.getpid())
    with ThreadPoolExecutor(2) as pool:
        yield dict(zip([row.name for row in HOSTILE], pool.map(partial(_observed, sandboxes), HOSTILE), strict=True))
    assert children_of(os.getpid()) <= before
    assert not Path("escaped").exists()
    assert not Path("escaped.txt").exists()
    assert list(Path("/var/tmp").glob("escaped*")) == []  # noqa: S108 - where the hostile programs try to write


def _observed(sandboxes: Sandboxes, row: Hostile) -> Observation:
    limits = HASTY if Outcome.TIMED_OUT in row.outcomes else PATIENT
    [observation] = sandboxes.run(Language.PYTHON, row.code, [Probe(row.call)], limits=limits).observations
    return observation


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 40
    assert len({row.name for row in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.name.replace(" ", "-"))
def test_a_hostile_program_is_contained_and_named_for_what_it_did(row: Hostile, seen: dict[str, Observation]) -> None:
    observation = seen[row.name]
    assert observation.outcome in row.outcomes, observation
    assert row.says in f"{observation.actual} {observation.error}", observation


@pytest.mark.usefixtures("seen")
def test_after_all_of_them_a_plain_probe_still_works(sandboxes: Sandboxes) -> None:
    ran = sandboxes.run(Language.PYTHON, "def add(a, b):\n    return a + b\n", [Probe("add(2, 3)", "5")])
    [plain] = ran.observations
    assert (plain.outcome, plain.actual, plain.matches) == (Outcome.RETURNED, "5", True)
