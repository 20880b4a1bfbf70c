"""`lucid verify-code` of a running service on the simulated model: the build that it stops, and the findings that it hands over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.supervisor import Stack
from tests.e2e.pipelines_hand import Customer, customer_of

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = "Function should add two numbers"


@pytest.fixture(scope="module")
def customer(stack: Stack) -> Iterator[Customer]:
    """A customer with a key for tests."""
    with customer_of(stack) as customer:
        yield customer


def lucid(customer: Customer, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LUCID_URL": customer.url, "LUCID_API_KEY": customer.key, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "verify-code", "--context", CONTEXT, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_defect_stops_the_build_and_is_handed_over_with_its_line(customer: Customer, tmp_path: Path) -> None:
    (tmp_path / "sub.py").write_text("# Adds.\ndef add(a, b):\n    return a - b\n", encoding="utf-8")
    (tmp_path / "sum.ts").write_text("export function add(a: number, b: number) { return a + b; }\n", encoding="utf-8")
    ran = lucid(customer, tmp_path, ".", "--format", "sarif", "--output", "lucid.sarif")
    assert ran.returncode == 1, ran.stderr
    (run,) = json.loads((tmp_path / "lucid.sarif").read_text(encoding="utf-8"))["runs"]
    assert [artifact["location"]["uri"] for artifact in run["artifacts"]] == ["sub.py", "sum.ts"]
    failed = [result for result in run["results"] if result["properties"]["verdict"] == "FAIL"]
    assert failed
    for result in failed:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "sub.py"
        assert 2 <= place["region"]["startLine"] <= 3


def test_what_is_corrected_lets_the_build_go_on(customer: Customer, tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text("def add(a, b):\n    return a + b\n", encoding="utf-8")
    ran = lucid(customer, tmp_path, "sum.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("sum.py: ")
    assert " 0 failed" in ran.stdout


def test_a_key_that_is_no_good_is_no_clean_result(customer: Customer, tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text("def add(a, b):\n    return a + b\n", encoding="utf-8")
    ran = lucid(customer, tmp_path, "sum.py", "--key", "lk_test_" + "0" * 64)
    assert ran.returncode == 3
    assert "unauthorized: " in ran.stderr
