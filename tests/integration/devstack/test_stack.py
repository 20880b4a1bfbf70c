"""The embedded stack without the application: stores, nodes, witness and simulated model as real processes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import psycopg
import pytest
import redis

from devstack import procfs
from devstack.faults import StackFault
from devstack.files import read_json
from devstack.supervisor import Stack
from tests.integration.devstack.conftest import await_true, foundation_stack, user_environment

ROOT = Path(__file__).resolve().parents[3]
PARTS = {"postgres", "valkey", "lightning", "witness", "sim-model", "watchdog"}

HOLD = textwrap.dedent("""
    import os, sys, threading
    from pathlib import Path
    from devstack.supervisor import Stack
    stack = Stack(Path(sys.argv[1]), os.environ, real_model=False, processes=(), migrate=False)
    stack.start()
    print("ready", flush=True)
    threading.Event().wait()
""")


def postgres_answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def valkey_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def pids_of(home: Path) -> dict[str, int]:
    return {child["name"]: child["pid"] for child in read_json(home / "processes.json")["children"]}


def none_lives(pids: dict[str, int]) -> bool:
    return not any(procfs.born(pid) or procfs.has_group(pid) for pid in pids.values())


def start_supervisor(home: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        cwd=ROOT,
        env=user_environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    holder.stdout.close()
    return holder


def test_every_part_answers_where_the_endpoints_say(stack: Stack) -> None:
    assert set(stack.processes) == PARTS
    assert postgres_answers(stack.endpoints["database_url"])
    assert valkey_answers(stack.endpoints["redis_url"])
    with urllib.request.urlopen(f"{stack.endpoints['sim_llm'].removesuffix('/v1')}/health", timeout=5) as answer:  # noqa: S310
        assert answer.status == 200
    assert json.loads(stack.home.endpoints.read_text()) == stack.endpoints
    assert stat.S_IMODE(stack.home.endpoints.stat().st_mode) == 0o600


def test_valkey_keeps_what_it_is_told_and_evicts_nothing(stack: Stack) -> None:
    with redis.Redis.from_url(stack.endpoints["redis_url"]) as client:
        settings = client.config_get("*")
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["bind"] == "127.0.0.1"


def test_a_killed_postgres_comes_back_with_what_was_committed(stack: Stack) -> None:
    url = stack.endpoints["database_url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    before = stack.process("postgres").pid
    stack.process("postgres").kill()
    stack.process("postgres").await_running(other_than=before)
    await_true(lambda: postgres_answers(url), what="postgres")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_killed_valkey_comes_back_with_its_keys(stack: Stack) -> None:
    url = stack.endpoints["redis_url"]
    with redis.Redis.from_url(url) as client:
        client.set("kept", "7")
    before = stack.process("valkey").pid
    stack.process("valkey").kill()
    stack.process("valkey").await_running(other_than=before)
    await_true(lambda: valkey_answers(url), what="valkey")
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"7"


@pytest.mark.parametrize("name", ["lightning", "witness"])
def test_a_killed_part_comes_back_with_the_same_address_and_keys(stack: Stack, name: str) -> None:
    process = stack.process(name)
    said, before = process.ready_line(), process.pid
    process.kill()
    process.await_running(other_than=before)
    await_true(lambda: process.ready_line() is not None, what=f"the ready line of {name}")
    assert process.ready_line() == said


def test_no_log_holds_a_macaroon_or_a_password_and_all_are_private(stack: Stack) -> None:
    secrets = [stack.endpoints["lnd"]["macaroon"], stack.endpoints["wallet"]["macaroon"]]
    secrets += read_json(stack.home.folder / "secrets.json").values()
    for log in (stack.home.folder / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), log.name
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_process_that_is_stopped_stays_down_until_it_is_started(stack: Stack) -> None:
    process = stack.process("sim-model")
    births = process.births
    process.stop(keep_down=True)
    assert process.pid is None
    process.kill()
    assert process.births == births
    process.start()
    await_true(lambda: process.ready_line() is not None, what="the ready line")
    assert process.births == births + 1


def test_the_application_gets_every_setting_it_needs(stack: Stack) -> None:
    environment = stack.environment
    assert environment["LUCID_ENV"] == "embedded"
    assert environment["LND_NETWORK"] == "regtest"
    assert environment["EVAL_MODEL"] == environment["WORK_MODEL"] == "sim-small"
    assert environment["LND_MACAROON_INVOICES"] != stack.endpoints["lnd"]["macaroon"]


def test_a_second_stack_on_one_home_is_refused_by_name(stack: Stack) -> None:
    with pytest.raises(StackFault, match=f"process {os.getpid()}.*is using"):
        foundation_stack(stack.home.folder).start()
    assert stack.home.endpoints.exists()
    assert postgres_answers(stack.endpoints["database_url"])


def test_a_restart_keeps_addresses_secrets_and_data_and_leaves_nothing_running(tmp_path: Path) -> None:
    first = foundation_stack(tmp_path)
    with first:
        endpoints, pids = dict(first.endpoints), pids_of(tmp_path)
        assert set(pids) == PARTS
    assert none_lives(pids)
    assert not first.home.endpoints.exists()
    assert not first.home.roll.exists()
    first.start()
    try:
        assert first.endpoints == endpoints
    finally:
        first.stop()


@pytest.mark.parametrize("also", [[], ["watchdog"]], ids=["supervisor", "supervisor-and-watchdog"])
def test_after_a_kill_of_the_supervisor_nothing_stays_and_the_next_start_works(tmp_path: Path, also: list[str]) -> None:
    holder = start_supervisor(tmp_path)
    endpoints, pids = read_json(tmp_path / "endpoints.json"), pids_of(tmp_path)
    for pid in (holder.pid, *(pids[name] for name in also)):
        os.kill(pid, signal.SIGKILL)
    holder.wait()
    if not also:
        await_true(lambda: none_lives(pids), within_s=15, what="the end of all children")
    with foundation_stack(tmp_path) as stack:
        assert not any(pid in pids.values() for pid in pids_of(tmp_path).values())
        assert stack.endpoints == endpoints
        assert postgres_answers(stack.endpoints["database_url"])
    assert none_lives(pids)


def test_a_start_that_fails_half_way_stops_what_it_started(tmp_path: Path) -> None:
    (tmp_path / "lightning").mkdir()
    (tmp_path / "lightning" / "lnd").write_text("in the way")
    stack = foundation_stack(tmp_path)
    pids: dict[str, int] = {}

    def remember(_: str) -> None:
        pids.update(pids_of(tmp_path))

    stack = Stack(tmp_path, user_environment(), real_model=False, processes=(), migrate=False, on_event=remember)
    with pytest.raises(StackFault, match="lightning keeps ending right after its start"):
        stack.start()
    assert {"postgres", "valkey"} <= set(pids)
    assert none_lives(pids)


def test_production_is_never_filled_in(tmp_path: Path) -> None:
    environment = user_environment() | {"LUCID_ENV": "production"}
    with pytest.raises(StackFault, match=r"REDIS_URL is not set.*DATABASE_URL is not set.*LND_GRPC is not set"):
        Stack(tmp_path / "home", environment, real_model=False).start()
    assert not (tmp_path / "home").exists()
