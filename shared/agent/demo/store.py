"""Free calls in SQL."""

from __future__ import annotations

from shared.agent.demo.model import DEMO_ENDED, Demo, DemoState
from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.errors import TransitionConflict

SQL = Queries.beside(__file__)


def insert_demo(tx: Tx, *, request: str) -> Demo:
    """Insert a call that is to be judged."""
    row = tx.one(SQL["insert_demo"], {"request": request})
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _demo(row)


def demo(tx: Tx, demo_id: int) -> Demo | None:
    """Return one call."""
    return _maybe(tx.one(SQL["demo"], {"id": demo_id}))


def lock_demo(tx: Tx, demo_id: int) -> Demo | None:
    """Return one call and hold its row lock until the transaction ends."""
    return _maybe(tx.one(SQL["lock_demo"], {"id": demo_id}))


def move_demo(tx: Tx, moved: Demo, to_state: DemoState, *, reason: str | None, result: str | None) -> None:
    """Move a call by compare-and-set. Raises `TransitionConflict`."""
    parameters = {
        "id": moved.id,
        "from_state": moved.state,
        "to_state": to_state,
        "ends": to_state in DEMO_ENDED,
        "reason": reason,
        "result": result,
    }
    if tx.run(SQL["move_demo"], parameters) != 1:
        raise TransitionConflict(f"the free call is no longer {moved.state}")


def prune_demos(tx: Tx) -> int:
    """Delete the calls of the day before; return how many."""
    return tx.run(SQL["prune_demos"])


def _maybe(row: Row | None) -> Demo | None:
    return None if row is None else _demo(row)


def _demo(row: Row) -> Demo:
    return Demo(
        id=row["id"],
        state=DemoState(row["state"]),
        request=row["request"],
        reason=row["reason"],
        result=row["result"],
    )
