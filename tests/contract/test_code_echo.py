"""Whatever is submitted as code is taken, kept and shown byte for byte, and no fault of ours. A sample; 100,000 where LUCID_SOAK is set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from flask import Flask

from devstack.supervisor import Stack
from shared.bootstrap import Container
from tests.contract.hostile_code import KNOWN, hostile_texts
from tests.contract.pipelines_caller import BASE, Caller

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
TEXTS = 100_000 if IS_SOAK else 40
OF_A_TENANT = 4000
"""Fewer than the greatest plan's verifications a month."""
LANGUAGES = ("python", "javascript", "typescript", "go", "rust", "cobol", "Brain Fuck", "ts")


@pytest.fixture
def idle(stack: Stack) -> Iterator[None]:
    """Nobody works on what is submitted: it is ended by hand."""
    worker = stack.processes["worker-verification"]
    worker.stop()
    yield
    worker.start()


@pytest.mark.usefixtures("idle")
def test_every_code_is_taken_kept_and_shown_as_it_came(app: Flask, container: Container) -> None:
    caller = Caller(app, container)
    for number, code in enumerate(hostile_texts(TEXTS - len(KNOWN))):
        if number % OF_A_TENANT == OF_A_TENANT - 1:
            caller = Caller(app, container)
        language = LANGUAGES[number % len(LANGUAGES)]
        answer = caller.forward(code, language=language, context=code)
        assert answer.status_code == 202, (code, answer.get_data(as_text=True))
        run_id = answer.get_json()["request_id"]
        ended = caller.call("POST", f"{BASE}/runs/{run_id}/cancel")
        assert (ended.status_code, ended.get_json()["state"]) == (200, "cancelled")
        assert ended.get_json()["asked"] == {"code": code, "context": code}
