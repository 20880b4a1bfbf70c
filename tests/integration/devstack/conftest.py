from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.supervisor import Stack


def await_true(holds: Callable[[], bool], *, within_s: float = 10.0, what: str = "it") -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true within {within_s} s"
        time.sleep(0.02)  # noqa: TID251  # other processes' deaths send us no event


def user_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return kept | {"PORT": "0"}


def foundation_stack(home: Path) -> Stack:
    return Stack(home, user_environment(), real_model=False, processes=(), migrate=False)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with foundation_stack(tmp_path_factory.mktemp("home")) as running:
        yield running
