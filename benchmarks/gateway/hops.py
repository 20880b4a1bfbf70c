"""Where our own time goes: one stream at a time, hop by hop, from the callers', the workers', the channels' and the rows' own times.

All of them are clocks of one machine. The rows' times are the beginnings of the transactions that wrote them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from benchmarks import bare
from benchmarks.effort import Effort
from benchmarks.figures import Figure, latency
from benchmarks.gateway import prompts
from benchmarks.gateway.caller import Door, Heard, ask_all
from benchmarks.ground import Ground
from benchmarks.worker_events import WorkerEvents
from shared.events.client import RELAY_CHANNEL, connect
from shared.inference.channel import CHANNEL, unpack
from shared.kernel.clock import SystemClock

TOKENS = 16
_POLL_S = 0.5
_ROWS = """
SELECT r.id, r.run_id, extract(epoch FROM r.created_at)::float8 AS placed_at, extract(epoch FROM s.started_at)::float8 AS claimed_at,
       r.ttft_ms / 1000.0::float8 AS upstream_s,
       extract(epoch FROM r.streaming_since)::float8 AS noted_at, extract(epoch FROM r.ended_at)::float8 AS ending_at
  FROM runs AS r JOIN steps AS s ON s.owner_kind = 'run' AND s.owner_id = r.id AND s.name = 'infer'
 WHERE r.run_id = ANY(%(run_ids)s)
"""


@dataclass(frozen=True)
class Passage:
    """One stream's moments in Unix seconds, in the order in which they come."""

    moments: dict[str, float]

    def took_s(self, begins: str, ends: str) -> float:
        """Return how long it was from one moment to a later one."""
        return self.moments[ends] - self.moments[begins]


_STAGES = (
    ("sent", "placed", "sent → read, key, limits, catalogue, match → placing begins"),
    ("placed", "committed", "placing: run, event, step, outbox row → committed, relay nudged"),
    ("committed", "received", "relay → broker → worker"),
    ("received", "claimed", "message received → step claimed, run taken up"),
    ("claimed", "first_token", "committed → upstream asked → its first token"),
    ("first_token", "noted", "first token → streaming noted"),
    ("noted", "published", "noting committed → first event on the channel"),
    ("published", "heard", "channel → web → first byte at the caller"),
    ("noted", "ending", "streaming noted → finishing begins: the rest of the answer, meanwhile"),
    ("ending", "done", "finishing: row, usage, receipt, frames → last byte at the caller"),
    ("sent", "done", "all of it"),
)


def measure(ground: Ground, door: Door, effort: Effort) -> list[Figure]:
    """Send one stream after the other and split each of them."""
    bare.app.conf.update(broker_url=ground.environment["REDIS_URL"])  # whose workers are heard
    asked = [prompts.stream(number, tokens=TOKENS) for number in range(effort.gateway_hops)]
    with WorkerEvents() as worker, Ear(ground) as ear:
        heard = ask_all(door, asked, connections=1)
    passages = list(_passages(ground, heard, worker, ear))
    return [
        latency(f"hop: {what}", [passage.took_s(begins, ends) for passage in passages])
        for begins, ends, what in _STAGES
    ]


def _passages(ground: Ground, heard: list[Heard], worker: WorkerEvents, ear: Ear) -> Iterator[Passage]:
    by_id = {run_id_of(answer): answer for answer in heard}
    with ground.connect() as connection:
        rows = connection.execute(_ROWS, {"run_ids": list(by_id)}).fetchall()
    for row in rows:
        answer = by_id[row["run_id"]]
        received = worker.received_at.get(f"({row['id']},)")
        published = ear.published_at.get(row["id"])
        committed = ear.nudged_after(row["placed_at"])
        if received is None or published is None or committed is None:
            continue  # a worker that did not speak of it in time
        first = next(event.after_s for event in answer.events() if event.text)
        yield Passage(
            {
                "sent": answer.sent_at,
                "placed": row["placed_at"],
                "committed": committed,
                "received": received,
                "claimed": row["claimed_at"],
                "first_token": row["placed_at"] + row["upstream_s"],
                "noted": row["noted_at"],
                "published": published,
                "heard": answer.sent_at + first,
                "ending": row["ending_at"],
                "done": answer.sent_at + answer.took_s,
            }
        )


def run_id_of(answer: Heard) -> str:
    """Return the run that an answer is of: the id that each of its events carries."""
    return str(json.loads(answer.events()[0].data)["id"])


class Ear:
    """Hears the relay's nudges and the streams' channel, and notes when. A context manager."""

    def __init__(self, ground: Ground) -> None:
        self.published_at: dict[int, float] = {}
        self._nudges: list[float] = []
        self._url = ground.container.settings.redis_events_url
        self._clock = SystemClock()
        self._stop = threading.Event()
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, name="ear", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        self._listens.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._reader.join()

    def nudged_after(self, moment: float) -> float | None:
        """Return when the relay was nudged next."""
        return next((at for at in self._nudges if at >= moment), None)

    def _read(self) -> None:
        client = connect(self._url)
        with client.pubsub(ignore_subscribe_messages=False) as subscription:  # type: ignore[no-untyped-call] # redis-py
            subscription.subscribe(CHANNEL, RELAY_CHANNEL)
            while not self._stop.is_set():
                message = subscription.get_message(timeout=_POLL_S)
                if message is not None:
                    self._note(message)
        client.close()

    def _note(self, message: dict[str, Any]) -> None:
        now = self._clock.now().timestamp()
        if message["type"] == "subscribe":
            self._listens.set()
        elif message["channel"] == RELAY_CHANNEL.encode():
            self._nudges.append(now)
        else:
            for run_row, _frame in unpack(message["data"]):
                self.published_at.setdefault(run_row, now)
