"""What is done at once gives what it would give one after the other."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from shared.verification.tools import side_by_side


def test_each_gives_its_own_in_order_while_all_run_at_once() -> None:
    meet = threading.Barrier(3)

    def met(number: int) -> int:
        meet.wait(timeout=30)
        return number

    assert side_by_side([lambda number=number: met(number) for number in (1, 2, 3)]) == [1, 2, 3]  # type: ignore[misc] # bound now
    assert side_by_side([lambda: 1]) == [1]
    assert side_by_side([]) == []


@pytest.mark.parametrize("raising", [0, 1])
def test_what_one_raises_comes_after_the_other_has_ended(raising: int) -> None:
    has_ended = threading.Event()

    def fail() -> None:
        raise ValueError("stop")

    def end() -> None:
        threading.Event().wait(0.1)
        has_ended.set()

    with pytest.raises(ValueError, match="stop"):
        side_by_side([fail, end] if raising == 0 else [end, fail])
    assert has_ended.is_set()


def test_what_is_known_of_the_stage_is_known_in_its_threads() -> None:
    named: ContextVar[str] = ContextVar("named")
    named.set("this one")
    assert side_by_side([named.get, named.get]) == ["this one", "this one"]
