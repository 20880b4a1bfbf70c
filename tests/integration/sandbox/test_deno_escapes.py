"""Hostile JavaScript and TypeScript: each piece comes to the end it must, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_javascript import AT_ONCE, ENDLESS, FUNCTIONS, MODULES, Hostile, HostileModule

from shared.sandbox.deno import DenoRunner
from shared.sandbox.model import Language, Limits, Observation, Outcome, Probe
from tests.processes import children_of

LANGUAGES = [Language.JAVASCRIPT, Language.TYPESCRIPT]
PATIENT = Limits(wall_s=10, memory_mb=64, output_bytes=16 * 1024, run_s=120)
HASTY = Limits(wall_s=0.5, memory_mb=64, output_bytes=16 * 1024, run_s=120)

Seen = dict[tuple[Language, str], Observation]


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hostile programs try to make."""
    return tmp_path_factory.mktemp("outside") / "escaped"


@pytest.fixture(scope="module")
def seen(marker: Path) -> Seen:
    """What every function gave, each language in a thread of its own: one run, one process as long as none of them ends it."""
    before = children_of(os.getpid())
    with ThreadPoolExecutor(2) as pool:
        found = {
            key: value for each in pool.map(lambda which: _all_seen(which, marker), LANGUAGES) for key, value in each
        }
    assert children_of(os.getpid()) <= before
    return found


def _all_seen(language: Language, marker: Path) -> list[tuple[tuple[Language, str], Observation]]:
    together = [*_seen(language, AT_ONCE, PATIENT, marker), *_seen(language, ENDLESS, HASTY, marker)]
    return [((language, row.name), observation) for row, observation in zip(FUNCTIONS, together, strict=True)]


def _seen(language: Language, rows: Sequence[Hostile], limits: Limits, marker: Path) -> tuple[Observation, ...]:
    bodies = [row.body.replace("ESCAPED", str(marker)) for row in rows]
    code = "\n".join(f"async function f{at}() {{ {body} }}" for at, body in enumerate(bodies))
    probes = [Probe(f"f{at}()") for at in range(len(rows))]
    return DenoRunner().run(language, code, probes, limits=limits, check=lambda: None).observations


def test_there_are_enough_of_them() -> None:
    assert len(FUNCTIONS) + len(MODULES) >= 40
    assert len({row.name for row in FUNCTIONS}) == len(FUNCTIONS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row.name.replace(" ", "-"))
def test_hostile_code_is_contained_and_named_for_what_it_did(row: Hostile, language: Language, seen: Seen) -> None:
    observation = seen[language, row.name]
    assert observation.outcome in row.outcomes, observation
    assert row.says in f"{observation.actual} {observation.error}", observation


@pytest.mark.parametrize("row", MODULES, ids=lambda row: row.name.replace(" ", "-"))
def test_a_hostile_module_is_contained_and_named_for_what_it_did(row: HostileModule) -> None:
    [observation] = (
        DenoRunner().run(Language.JAVASCRIPT, row.code, [Probe("f()")], limits=HASTY, check=lambda: None).observations
    )
    assert observation.outcome in row.outcomes, observation
    assert row.says in f"{observation.actual} {observation.error}", observation


@pytest.mark.parametrize("language", LANGUAGES)
def test_after_all_of_them_a_plain_probe_still_works_and_nothing_is_left(
    language: Language, seen: Seen, marker: Path
) -> None:
    assert seen
    assert list(marker.parent.iterdir()) == []
    before = children_of(os.getpid())
    probe, code = Probe("add(2, 3)", "5"), "const add = (a, b) => a + b"
    [plain] = DenoRunner().run(language, code, [probe], limits=PATIENT, check=lambda: None).observations
    assert (plain.outcome, plain.actual, plain.matches) == (Outcome.RETURNED, "5", True)
    assert children_of(os.getpid()) <= before
