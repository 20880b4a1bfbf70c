"""The small rules behind metrics and doctor: one table kept in two places, a home read and never made, a part that hangs."""

from __future__ import annotations

import socket
from pathlib import Path
from time import monotonic

import pytest

from cli import reach
from cli.doctor import examine
from cli.findings import Finding, Level, fault, needs_a_hand, ok, warning
from cli.reach import Question
from devstack.endpoints import describe, settings_of
from devstack.files import read_json, write_json
from devstack.home import Home, Keys
from shared.agent.gauges import LATENCY_BOUNDS_MS, UNBOUNDED_MS
from web.gateway.metrics import QUEUE_OF, _cumulative
from workers.chains import CHAINS


def test_metrics_name_the_queues_of_the_chains() -> None:
    links = {f"{kind}.{link.step}": link.queue for kind, chains in CHAINS.items() for links in chains for link in links}
    assert links == QUEUE_OF


def test_counts_by_bucket_become_counts_up_to_a_bound() -> None:
    first, last = LATENCY_BOUNDS_MS[0], LATENCY_BOUNDS_MS[-1]
    buckets = _cumulative({first: 2, last: 3, UNBOUNDED_MS: 1})
    assert buckets[0] == ("0.25", 2.0)
    assert buckets[-2:] == [("160.0", 5.0), ("+Inf", 6.0)]


def test_a_count_in_a_bucket_of_another_release_is_not_lost() -> None:
    assert _cumulative({300: 4}) == [("0.25", 0.0), *((le, 4.0) for le, _ in _cumulative({})[1:])]


def test_only_a_fault_needs_a_hand() -> None:
    assert not needs_a_hand([ok("a", "fine"), warning("b", "late", "wait")])
    assert needs_a_hand([ok("a", "fine"), fault("b", "gone", "bring it back")])


def test_what_a_part_raises_is_never_shown() -> None:
    def ask() -> list[Finding]:
        raise RuntimeError("connection to redis://:hidden@host refused")

    question = Question("redis", ask, "start it")
    question.run()
    (found,) = question.outcome(1)
    assert (found.level, found.detail) == (Level.FAULT, "does not answer (RuntimeError)")


def test_a_part_that_hangs_costs_its_time_and_no_more() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = monotonic()
        question = Question("web", lambda: reach._web(url), "start it")
        question.run()
        assert monotonic() - began < reach.TIMEOUT_S
    assert question.findings[0].detail == "does not answer (ReadTimeout)"


# -- a command beside a running stack


@pytest.fixture
def running(tmp_path: Path) -> Home:
    """A home as a running stack leaves it."""
    home = Home(tmp_path)
    keys = Keys.of(home)
    environment = {
        "PORT": "1",
        "FLOWER_PORT": "2",
        "FLOWER_USER": "lucid",
        "FLOWER_PASSWORD": keys.flower_password,
        "METRICS_TOKEN": keys.metrics_token,
        "DATABASE_URL": "postgresql://db",
        "REDIS_URL": "redis://r",
        "OPENAI_BASE_URL": "http://sim/v1",
        "SIM_OPENAI_BASE_URL": "http://sim/v1",
    }
    write_json(home.endpoints, describe(environment, lightning=None))
    return home


def test_a_command_beside_a_stack_knows_its_addresses_and_secrets(running: Home) -> None:
    known = settings_of(running, {"REDIS_URL": "redis://mine", "LOG_LEVEL": ""})
    assert known["DATABASE_URL"] == "postgresql://db"
    assert known["REDIS_URL"] == "redis://mine"
    assert known["SECRET_KEY"] == read_json(running.folder / "secrets.json")["secret_key"]
    assert known["WORK_MODEL"] == "sim-small"
    assert "LOG_LEVEL" not in known


def test_the_map_says_where_the_metrics_are_and_with_which_token(running: Home) -> None:
    token = read_json(running.folder / "secrets.json")["metrics_token"]
    assert read_json(running.endpoints)["metrics"] == {"url": "http://127.0.0.1:1/metrics", "token": token}
    assert len(token) == 32


def test_in_production_nothing_is_filled_in(running: Home) -> None:
    user = {"LUCID_ENV": "production"}
    assert settings_of(running, user) == user


def test_looking_at_a_home_makes_nothing_in_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert Keys.kept(home) is None
    assert settings_of(home, {"A": "b"}) == {"A": "b"}
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_environment_is_not_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        examine({"LUCID_HOME": str(tmp_path)}, patience_s=0)
    assert ended.value.code == 2
    assert "SECRET_KEY is not set" in capsys.readouterr().err
