"""Queues, Procfile and docker-compose.yml: three lists of the same processes."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from config.queues import QUEUES
from config.schedule import TICKS
from devstack.procfile import RELEASE, read_procfile
from tests.architecture.settings_page import sections, settings
from tests.architecture.source_tree import ROOT

STORES = {"postgres", "redis"}
PROCFILE = read_procfile(ROOT / "Procfile")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


def words(line: str) -> list[str]:
    return shlex.split(line.removeprefix("exec "))


def option(line: str, flag: str) -> str:
    return words(line)[words(line).index(flag) + 1]


def test_every_queue_is_drained_by_a_worker_of_its_own_with_its_concurrency() -> None:
    workers = {name: line for name, line in PROCFILE.items() if name.startswith("worker-")}
    assert {name: (option(line, "-Q"), int(option(line, "-c"))) for name, line in workers.items()} == {
        f"worker-{queue.name}": (queue.name, queue.concurrency) for queue in QUEUES
    }


def test_workers_use_threads_and_a_name_of_their_own() -> None:
    workers = [line for line in PROCFILE.values() if " worker " in line]
    assert {option(line, "-P") for line in workers} == {"threads"}
    assert len({option(line, "-n") for line in workers}) == len(workers)


def test_every_process_is_executed_so_that_signals_reach_it() -> None:
    assert [name for name, line in PROCFILE.items() if name != RELEASE and not line.startswith("exec ")] == []


def test_every_tick_goes_to_a_queue_that_is_drained() -> None:
    assert {tick.queue for tick in TICKS} <= set(QUEUES)


def test_compose_runs_the_processes_of_the_procfile_with_the_same_commands(compose: dict[str, Any]) -> None:
    services = {name: service for name, service in compose["services"].items() if name not in STORES}
    assert {name: service["command"] for name, service in services.items()} == {
        name: words(line) for name, line in PROCFILE.items()
    }


def test_compose_hands_every_setting_to_every_process_by_name(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name not in STORES:
            assert set(settings().names) <= set(service["environment"]), name
    handed = compose["x-settings"]
    decided = {name for name, value in handed.items() if value is not None}
    assert set(handed) == set(settings().names)
    assert decided == {"LUCID_ENV", "DATABASE_URL", "REDIS_URL"}


def test_compose_asks_for_nothing_that_the_example_does_not_name(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert asked <= {name for section in sections() for name in section.names}
    assert set(sections()[-1].names) <= asked


def test_nothing_starts_before_the_schema_is_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name not in STORES | {RELEASE}:
            assert service["depends_on"][RELEASE] == {"condition": "service_completed_successfully"}, name


def test_the_image_holds_what_the_processes_import_and_nothing_private() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY ([a-z]+) \1$", dockerfile, re.MULTILINE)
    assert sorted(copied) == ["cli", "config", "devstack", "migrations", "shared", "web", "workers"]
    assert re.search(r"^USER (?!root)\w+$", dockerfile, re.MULTILINE)
    assert "--require-hashes" in dockerfile
    let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in let_through
    assert "!.env" not in let_through


def test_operations_tells_what_every_process_is_for() -> None:
    manual = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", manual, re.MULTILINE)) == set(PROCFILE)
