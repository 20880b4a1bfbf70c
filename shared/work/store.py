"""Steps, outbox and ticks in SQL."""

from __future__ import annotations

from shared.db.model import Queries
from shared.db.service import Tx
from shared.work.model import Claim, Message, StepRef, StepState

SQL = Queries.beside(__file__)


def enqueue(tx: Tx, ref: StepRef, *, cid: str) -> bool:
    """Insert a queued step; False where it exists already."""
    return tx.one(SQL["enqueue"], {**_key(ref), "cid": cid}) is not None


def send(tx: Tx, ref: StepRef, *, cid: str, delay_s: float = 0) -> None:
    """Insert an outbox row that rings `ref` once `delay_s` seconds have passed."""
    tx.run(
        SQL["send"], {"topic": f"{ref.owner_kind}.{ref.name}", "owner_id": ref.owner_id, "cid": cid, "delay_s": delay_s}
    )


def send_soon(tx: Tx, ref: StepRef, *, cid: str, within_s: float) -> None:
    """Insert an outbox row that rings `ref` in `within_s` seconds, unless one is there already that is not due for half of them."""
    tx.run(
        SQL["send_soon"],
        {"topic": f"{ref.owner_kind}.{ref.name}", "owner_id": ref.owner_id, "cid": cid, "within_s": within_s},
    )


def claim(tx: Tx, ref: StepRef, *, lease_s: float) -> Claim | None:
    """Take the step: queued and due, or running with a lapsed lease."""
    row = tx.one(SQL["claim"], {**_key(ref), "lease_s": lease_s})
    return (
        None if row is None else Claim(row["id"], ref, row["fence"], row["attempts"], row["cid"], float(row["age_s"]))
    )


def restart(tx: Tx, ref: StepRef, *, cid: str) -> bool:
    """Queue a step that was given up, or is queued still, afresh; False for any other."""
    return tx.run(SQL["restart"], {**_key(ref), "cid": cid}) == 1


def renew(tx: Tx, held: Claim, *, lease_s: float) -> bool:
    """Extend the lease; False where another process owns the step."""
    return tx.run(SQL["renew"], {"id": held.id, "fence": held.fence, "lease_s": lease_s}) == 1


def end(tx: Tx, held: Claim, state: StepState, *, fault: str | None = None) -> bool:
    """End the step under its fence; False where another process owns it."""
    return tx.run(SQL["end"], {"id": held.id, "fence": held.fence, "state": state, "fault": fault}) == 1


def put_back(tx: Tx, held: Claim, *, delay_s: float, forgiven: bool, fault: str) -> bool:
    """Queue the step again under its fence; False where another process owns it."""
    parameters = {"id": held.id, "fence": held.fence, "delay_s": delay_s, "forgiven": int(forgiven), "fault": fault}
    return tx.run(SQL["put_back"], parameters) == 1


def rescue(tx: Tx, *, rescue_after_s: float) -> int:
    """Ring every stuck step again; return how many."""
    return tx.run(SQL["rescue"], {"rescue_after_s": rescue_after_s})


def take_due(tx: Tx, *, batch: int) -> list[Message]:
    """Delete and return the due outbox rows, oldest first. They are gone only if the caller's transaction commits."""
    rows = sorted(tx.all(SQL["take_due"], {"batch": batch}), key=lambda row: int(row["id"]))
    return [_message(row["id"], row["topic"], row["payload"]["id"], row["cid"]) for row in rows]


def take_turn(tx: Tx, name: str, *, period_s: float) -> float | None:
    """Move the tick's row by compare-and-set; None for all but the one caller that won.

    He learns by how many seconds the database's clock was set back since the last turn: 0 unless it now shows less than then.
    """
    tx.run(SQL["know_tick"], {"name": name})
    row = tx.one(SQL["take_turn"], {"name": name, "period_s": period_s})
    return None if row is None else float(row["set_back_s"])


def recall(tx: Tx, *, beyond_s: float, lease_s: float) -> None:
    """Have what is put off for more than `beyond_s` seconds be due now, and no lease outlast them by more than `lease_s`."""
    tx.run(SQL["recall_queued"], {"beyond_s": beyond_s})
    tx.run(SQL["recall_running"], {"beyond_s": beyond_s, "lease_s": lease_s})
    tx.run(SQL["recall_outbox"], {"beyond_s": beyond_s})


def sing(tx: Tx, queue: str) -> None:
    """Record that a worker consumed a canary from `queue` just now."""
    tx.run(SQL["sing"], {"queue": queue})


def silent_queues(tx: Tx, queues: list[str], *, max_age_s: float) -> list[str]:
    """Return the queues whose canary has not sung within `max_age_s` seconds."""
    return [row["queue"] for row in tx.all(SQL["silent_queues"], {"queues": queues, "max_age_s": max_age_s})]


def prune_steps(tx: Tx) -> int:
    """Delete ended steps that nobody will ask about; return how many."""
    return tx.run(SQL["prune_steps"])


def _key(ref: StepRef) -> dict[str, object]:
    return {"owner_kind": ref.owner_kind, "owner_id": ref.owner_id, "name": ref.name}


def _message(row_id: int, topic: str, owner_id: int, cid: str) -> Message:
    kind, _, name = topic.partition(".")
    return Message(row_id, StepRef(kind, owner_id, name), cid)
