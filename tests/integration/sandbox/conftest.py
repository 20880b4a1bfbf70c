"""The sandbox as the workers have it, with its compiled interpreter kept between test runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devstack.model import cache_folder
from shared.sandbox.service import Sandboxes


@pytest.fixture(scope="session")
def sandbox_cache() -> Path:
    """Where the stack keeps what takes seconds to make."""
    return cache_folder(os.environ) / "sandbox"


@pytest.fixture(scope="session")
def sandboxes(sandbox_cache: Path) -> Sandboxes:
    """Runs code in every language."""
    made = Sandboxes(cache_dir=sandbox_cache)
    made.warm()
    return made
