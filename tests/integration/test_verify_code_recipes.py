"""The shell lines of `docs/verification.md` that have a build verify what changed, run in a repository as a user would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.integration.verify_code_service import Service, running_service

ROOT = Path(__file__).resolve().parents[2]
ADDS = "def add(a, b):\n    return a + b\n"
SUBTRACTS = "def add(a, b):\n    return a - b\n"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GIT = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "init.defaultBranch=main"]


def recipes() -> tuple[str, str]:
    """Return the lines of the workflow's step and those for any shell."""
    text = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    section = text.split("\n## In CI\n")[1].split("\n## ")[0]
    blocks = dict(BLOCK.findall(section))
    steps = yaml.safe_load(blocks["yaml"])["jobs"]["lucid"]["steps"]
    (step,) = (step["run"] for step in steps if "verify-code" in step.get("run", ""))
    return step, blocks["sh"]


@dataclass
class Checkout:
    """A clone whose branch is ahead of `origin/main`, and a shell in it that finds `lucid`."""

    folder: Path
    environment: dict[str, str]

    def change(self, **files: str) -> None:
        """Commit files, whose names are given without `.py`, and the end of one that was there."""
        for name, code in files.items():
            (self.folder / f"{name}.py").write_text(code)
        (self.folder / "former.py").unlink()
        self.git("add", "-A")
        self.git("commit", "-qm", "change")

    def git(self, *words: str) -> None:
        subprocess.run([*GIT, *words], cwd=self.folder, check=True)

    def run(self, *shell: str) -> int:
        """Return how a shell ends with these lines."""
        return subprocess.run(shell, cwd=self.folder, env=self.environment, timeout=120, check=False).returncode

    def log(self) -> dict[str, list[dict[str, object]]]:
        """Return the one run of the log that was written."""
        (run,) = json.loads((self.folder / "lucid.sarif").read_text())["runs"]
        return dict(run)


@pytest.fixture
def service() -> Iterator[Service]:
    """A service of its own for each test."""
    with running_service() as service:
        yield service


@pytest.fixture
def checkout(service: Service, tmp_path: Path) -> Checkout:
    """A checkout at the head of a branch without changes."""
    origin, folder, tools = tmp_path / "origin", tmp_path / "check out", tmp_path / "bin"
    tools.mkdir()
    (tools / "lucid").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    (tools / "lucid").chmod(0o755)
    subprocess.run([*GIT, "init", "-q", str(origin)], check=True)
    first = Checkout(origin, {})
    (origin / "former.py").write_text(ADDS)
    first.git("add", "-A")
    first.git("commit", "-qm", "first")
    subprocess.run([*GIT, "clone", "-q", str(origin), str(folder)], check=True)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LUCID_URL": service.url,
        "LUCID_API_KEY": "lk_test_" + "0" * 64,
        "GITHUB_BASE_REF": "main",
        "RUNNER_TEMP": str(tmp_path),
    }
    return Checkout(folder, environment)


def test_the_workflow_ends_with_the_commands_own_code_and_one_log_of_all_files(
    service: Service, checkout: Checkout
) -> None:
    workflow = ("bash", "-e", "-c", recipes()[0])
    assert checkout.run(*workflow) == 0, "a branch without changes"
    assert (checkout.log()["results"], service.asked) == ([], [])
    checkout.change(__init__="")
    assert checkout.run(*workflow) == 0, "an empty file"
    checkout.git("checkout", "-q", "-b", "second", "origin/main")
    checkout.change(sub=SUBTRACTS, **{"-an odd\nnäme": ADDS})
    assert checkout.run(*workflow) == 1
    assert len(checkout.log()["artifacts"]) == 2
    service.refusals = [(400, {}, "invalid_request")]
    assert checkout.run(*workflow) == 3
    assert [one["executionSuccessful"] for one in checkout.log()["invocations"]] == [False, True]
    checkout.environment["GITHUB_BASE_REF"] = "nowhere"
    assert checkout.run(*workflow) not in (0, 1, 3), "a comparison that failed is not one without changes"


@pytest.mark.parametrize("shell", [("sh", "-c"), ("sh", "-ec"), ("bash", "-c")])
def test_the_lines_for_a_shell_let_only_a_service_that_is_away_pass(
    service: Service, checkout: Checkout, shell: tuple[str, str]
) -> None:
    lines = recipes()[1]
    assert checkout.run(*shell, lines) == 0, "a branch without changes"
    checkout.change(sub=SUBTRACTS)
    assert checkout.run(*shell, lines) == 1
    service.refusals = [(401, {}, "unauthorized")]
    assert checkout.run(*shell, lines) == 0
    checkout.git("remote", "remove", "origin")
    assert checkout.run(*shell, lines) not in (0, 1, 3), "a comparison that failed is not one without changes"
