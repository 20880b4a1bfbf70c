"""The contract's own examples with the real local model behind the service: what it says is run, whatever it thinks."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.model import QWEN_1_5B, cache_folder, is_present
from devstack.supervisor import Stack
from shared.access.model import Mode
from tests.e2e.market import PROCESSES
from tests.e2e.pipelines_hand import CONTEXT, Customer, customer_of, example, told_by

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
only_in_soak = pytest.mark.skipif(
    not IS_SOAK, reason="each call takes the model minutes on a busy machine; set LUCID_SOAK"
)
pytestmark = [pytest.mark.model, only_in_soak]
PATIENT = {"SYNC_WAIT_S": "900", "LLM_FIRST_TOKEN_S": "300", "LLM_DEADLINE_S": "600"}
"""A machine that is busy with other tests is slow, and slowness is no fault here."""
LYING = {
    "def add(a, b):\n    # returns the sum\n    return a * b\n": "FAIL",
    "def add(a, b):\n    # returns the product\n    return a + b\n": "PASS",
}
"""By what they say, whether they should be found at fault by what they do."""


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """A customer with a live key."""
    if not is_present(QWEN_1_5B, cache_folder(os.environ)):
        pytest.skip("the model is not in the cache: `make demo` fetches it")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LUCID_CACHE", "XDG_CACHE_HOME") if name in os.environ}
    home = tmp_path_factory.mktemp("model")
    with Stack(home, {**kept, **PATIENT, "PORT": "0"}, real_model=True, processes=PROCESSES) as stack:
        with customer_of(stack, mode=Mode.LIVE) as customer:
            yield customer


def test_the_pages_python_example_finds_the_subtraction(customer: Customer, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example("python", customer, key=customer.key), encoding="utf-8")
    lines = told_by([sys.executable, str(script)]).splitlines()
    passed, total = lines[1].removeprefix("Passed: ").split("/")
    assert int(passed) < int(total)
    assert [line for line in lines[2:] if line.startswith("  Fix: ")]


def test_the_pages_node_and_curl_examples_find_it_too(customer: Customer, tmp_path: Path) -> None:
    if not (shutil.which("node") and shutil.which("curl")):
        pytest.skip("node and curl are not on PATH")
    script = tmp_path / "example.mjs"
    script.write_text(example("node", customer, key=customer.key), encoding="utf-8")
    assert "Fix: " in told_by(["node", str(script)])
    body = customer.true("forward", json.loads(told_by(["sh", "-c", example("curl", customer, key=customer.key)])))
    failed = [item for item in body["verification"]["items"] if item["verdict"] == "FAIL"]
    assert {item["evidence_kind"] for item in failed} == {"executed"}


def test_the_pages_reverse_example_is_answered_with_code_that_ran(customer: Customer) -> None:
    text = told_by(["sh", "-c", example("curl reverse", customer, key=customer.key)])
    body = customer.true("reverse", json.loads(text))
    assert any(item["evidence_kind"] == "executed" for item in body["verification"]["items"])


@pytest.mark.parametrize(("code", "verdict"), LYING.items())
def test_a_comment_that_lies_sways_nothing(customer: Customer, code: str, verdict: str) -> None:
    body = customer.verified(code, language="python", context=CONTEXT)
    assert (body["verification"]["failed"] > 0) == (verdict == "FAIL"), body["verification"]["items"]
