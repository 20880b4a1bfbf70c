"""Folders and imports: ARCHITECTURE.md against the tree, the import contracts against the code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source_tree import PACKAGES, ROOT, files, imports_of, name_of, python_files, tree_of

PLAN = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

# package → where it must be at work, and where alone it may be (files or folders)
NAMED_PACKAGES = {
    "flask": (("web/app.py",), ("web",)),
    "flask_smorest": (("web/door.py",), ("web",)),
    "marshmallow": (("web/agent/schemas.py", "web/gateway/schemas.py"), ("web",)),
    "celery": (("workers/app.py", "workers/chains.py"), ("workers",)),
    "redis": (
        ("shared/events/client.py",),
        ("shared/events", "shared/agent/demo/client.py", "shared/inference/channel.py", "workers/relay.py", "devstack"),
    ),
    "limits": (("web/limits.py",), ("web",)),
    "psycopg": (("shared/db/service.py", "shared/db/migrations.py"), ("shared/db", "shared/work", "shared/*/store.py")),
    "grpc": (("shared/lightning/clients/lnd.py",), ("shared/lightning/clients", "devstack/lightning")),
    "openai": (("shared/llm/clients/openai.py",), ("shared/llm/clients",)),
}
READ_THE_ENVIRONMENT = (
    "shared/bootstrap/__init__.py",
    "workers/app.py",
    "workers/monitor.py",
    "web/gunicorn.py",
    "cli/",
    "devstack/",
    # puts one variable back that importing the stubs' package would change
    "shared/lightning/clients/stubs.py",
    # where the workers of one web process share their figures: the library's own variable, set by web/gunicorn.py
    "web/intake.py",
    # a request's environ, not the process's: where the server shows the request's socket
    "web/events.py",
)


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PLAN, re.MULTILINE | re.DOTALL)
    assert found is not None, f"ARCHITECTURE.md has no section {title!r}"
    return found[1]


def test_the_top_level_folders_are_those_of_the_plan() -> None:
    planned = set(re.findall(r"^\| `([a-z.]+)/` \|", section("Top-level folders"), re.MULTILINE))
    there = {path.relative_to(ROOT).parts[0] for path in files() if len(path.relative_to(ROOT).parts) > 1}
    assert there == planned


def test_the_rooms_of_shared_are_those_of_the_plan() -> None:
    planned = set(
        re.findall(r"^\| `([a-z_.]+?)/?` \|", section("The rooms of `shared/`, from the top down"), re.MULTILINE)
    )
    there = {path.name for path in (ROOT / "shared").iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert there == planned


def test_every_path_that_the_plan_names_exists() -> None:
    named = {text for text in re.findall(r"`([a-zA-Z_./-]+)`", PLAN) if "/" in text and "<" not in text}
    missing = [
        text for text in sorted(named) if not any(ROOT.glob(place + text) for place in ("", "shared/", "shared/*/"))
    ]
    assert missing == []


def test_the_import_contracts_hold() -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_import_contracts_know_every_package_of_ours() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert set(linter["root_packages"]) == set(PACKAGES)
    with_code = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/__init__.py")}
    assert with_code - {"tests", "benchmarks"} == set(PACKAGES)


@pytest.mark.parametrize("package", NAMED_PACKAGES)
def test_a_named_package_is_at_work_where_the_plan_puts_it_and_nowhere_else(package: str) -> None:
    must, may = NAMED_PACKAGES[package]
    users = {
        name_of(path)
        for path in python_files(*PACKAGES)
        if package in {name.split(".")[0] for name in imports_of(path)}
    }
    assert set(must) <= users
    elsewhere = sorted(
        user for user in users if not any(Path(user).match(f"{place}/**") or _within(user, place) for place in may)
    )
    assert elsewhere == []


def test_the_stubs_of_lnd_grpc_client_are_what_speaks_to_the_node() -> None:
    stubs = ROOT / "shared/lightning/clients/stubs.py"
    assert 'import_module(f"lndgrpc.compiled.{name}")' in stubs.read_text(encoding="utf-8")
    assert "shared.lightning.clients.stubs" in imports_of(ROOT / "shared/lightning/clients/lnd.py")
    touching = [
        name_of(path)
        for path in python_files(*PACKAGES)
        if any(name.startswith("lndgrpc") for name in imports_of(path))
    ]
    assert touching == [], "the package's own __init__ and client must not be loaded"


def test_pytest_celery_drives_the_courier_tests() -> None:
    assert any("pytest_celery" in imports_of(path) for path in python_files("tests/integration"))


def test_only_the_edges_of_a_process_read_its_environment() -> None:
    readers = [
        name_of(path)
        for path in python_files(*PACKAGES)
        if _reads_environment(path) and not name_of(path).startswith(READ_THE_ENVIRONMENT)
    ]
    assert readers == []


def test_nothing_outside_workers_sends_a_task() -> None:
    sending = {"send_task", "apply_async", "delay"}
    senders = [
        f"{name_of(path)}:{node.lineno}"
        for path in python_files("config", "web", "shared", "devstack", "cli")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in sending
    ]
    assert senders == []


@pytest.mark.parametrize("module", ["shared.receipts.verify", "cli.main"])
def test_verifying_offline_loads_no_database_no_broker_no_framework(module: str) -> None:
    loaded = _modules_after(f"import {module}")
    assert loaded.isdisjoint({"psycopg", "redis", "celery", "flask", "grpc", "openai", "httpx", "config.settings"})


def _within(user: str, place: str) -> bool:
    return user == place or user.startswith(f"{place}/") or ("*" in place and Path(user).match(place))


def _reads_environment(path: Path) -> bool:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"):
            return True
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {"environ", "getenv"} & {a.name for a in node.names}
        ):
            return True
    return False


def _modules_after(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=kept, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())
