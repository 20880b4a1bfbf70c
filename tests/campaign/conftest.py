"""When the campaign runs: under `make soak`, or where LUCID_CAMPAIGN is set. The test that reads the code runs always."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALWAYS = "test_every_effect_has_a_failpoint.py"
IS_ASKED_FOR = bool(os.environ.get("LUCID_SOAK") or os.environ.get("LUCID_CAMPAIGN"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what kills processes for minutes, and say so."""
    if IS_ASKED_FOR:
        return
    skip = pytest.mark.skip(reason="the campaign runs under `make soak`, or with LUCID_CAMPAIGN=1")
    for item in items:
        if item.path.parent == HERE and item.path.name != ALWAYS:
            item.add_marker(skip)
