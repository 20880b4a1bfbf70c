"""`lucid up` as a program: what a person at a terminal, or the program that started it, may do to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from devstack import procfs
from devstack.files import read_json
from devstack.procfile import RELEASE, read_procfile
from tests.integration.devstack.conftest import await_true, user_environment

ROOT = Path(__file__).resolve().parents[3]


def lucid_up(home: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up"],
        cwd=ROOT,
        env=user_environment() | {"LUCID_HOME": str(home), "LUCID_LLM": "sim"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_stop_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    up = lucid_up(tmp_path)
    assert up.stderr is not None
    assert up.stderr.readline() == "database: creating it\n"
    up.send_signal(signal.SIGTERM)
    out, err = up.communicate(timeout=30)
    assert (up.returncode, out) == (0, "")
    assert err.endswith("stopping …\nstopped\n")
    assert not (tmp_path / "processes.json").exists()
    assert not (tmp_path / "endpoints.json").exists()


def test_a_taken_port_is_one_line_and_a_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = lucid_up(tmp_path, PORT=str(port))
        out, err = up.communicate(timeout=30)
    assert (up.returncode, out) == (1, "")
    assert err == f"lucid: port {port} is taken by another program\n  → stop it, or choose another port with PORT=…\n"


def test_production_names_what_is_missing(tmp_path: Path) -> None:
    up = lucid_up(tmp_path / "home", LUCID_ENV="production")
    _, err = up.communicate(timeout=30)
    assert up.returncode == 1
    assert "DATABASE_URL is not set" in err
    assert not (tmp_path / "home").exists()


def pids_of(home: Path) -> dict[str, int]:
    return {child["name"]: child["pid"] for child in read_json(home / "processes.json")["children"]}


def is_ready(web: str) -> bool:
    try:
        with urllib.request.urlopen(f"{web}/health/ready", timeout=10) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:  # nobody listens, or whoever does has only just begun
        return False


def test_the_whole_stack_outlives_the_death_of_each_process_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    up = lucid_up(tmp_path)
    try:
        await_true((tmp_path / "endpoints.json").exists, within_s=120, what="the map of endpoints")
        web = json.loads((tmp_path / "endpoints.json").read_text())["web"]
        assert is_ready(web)
        before = pids_of(tmp_path)
        assert set(read_procfile(ROOT / "Procfile")) - {RELEASE} < set(before)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await_true(
            lambda: not set(pids_of(tmp_path).values()) & set(before.values()), within_s=30, what="every restart"
        )
        await_true(lambda: is_ready(web), within_s=60, what="readiness after all died at once")
        after = pids_of(tmp_path)
    finally:
        up.send_signal(signal.SIGINT)
        out, err = up.communicate(timeout=40)
    assert up.returncode == 0, err
    assert "ready after" in out
    assert web in out
    assert not any(procfs.born(pid) or procfs.has_group(pid) for pid in after.values())
    assert not (tmp_path / "endpoints.json").exists()


def test_the_supervisor_stays_light() -> None:
    heavy = "{'grpc', 'flask', 'psycopg', 'celery', 'openai', 'rich'}"
    script = f"import sys, cli.stack; found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
