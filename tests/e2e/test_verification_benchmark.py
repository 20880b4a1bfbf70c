"""The benchmark of the verdicts, on a running service: it judges, keeps what it found, and does not judge again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from devstack.parts import ROOT
from devstack.supervisor import Stack
from shared.access.model import Mode
from tests.e2e.pipelines_hand import new_key

PATIENCE_S = 300


def told_by(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.verification", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_benchmark_judges_over_http_and_goes_on_where_it_was(stack: Stack, tmp_path: Path) -> None:
    key = new_key(stack, mode=Mode.TEST)
    kept = ("--records", str(tmp_path / "records.jsonl"))
    asked = (
        *kept,
        "--url",
        str(stack.endpoints["web"]),
        "--key",
        key,
        "--only",
        "typescript/median3",
        "--defects",
        "1",
    )
    first = told_by(*asked)
    assert "2 trials, 0 of them done before" in first.stderr
    again = told_by(*asked, "--json")
    assert "2 trials, 2 of them done before" in again.stderr
    (part,) = json.loads(again.stdout)["parts"]
    flags = part["forward"]["ways"]["pipeline"]["all"]
    assert (flags["correct"], flags["defective"], flags["unanswered"]) == (1, 1, 0)
    assert flags["false_positives"]["hits"] == 0
