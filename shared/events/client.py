"""The bus: announces that an owner has news, and wakes whoever waits. It carries no truth; rows do.

One channel, one fan-in reader a process. Losing Redis costs latency only: a waiter looks again every second.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import redis
import structlog
from redis.exceptions import RedisError

from shared.kernel.failpoints import effect as failpoint
from shared.kernel.owner import Owner

log = structlog.get_logger(__name__)

RedisClient: TypeAlias = redis.Redis
CHANNEL = "lucid:events"
RELAY_CHANNEL = "lucid:relay"
_RECONNECT_S = 1.0


def connect(url: str, *, answer_within_s: float = 3.0) -> redis.Redis:
    """Return a client that never hangs on a dead connection: no answer waits longer than `answer_within_s`."""
    return redis.Redis.from_url(
        url,
        socket_timeout=answer_within_s,
        socket_connect_timeout=min(2.0, answer_within_s),
        socket_keepalive=True,
        health_check_interval=15,
        retry_on_timeout=False,
    )


class Bus:
    """Publishes and awaits announcements on the events database of Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: dict[Owner, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._closing = threading.Event()

    def announce(self, owner: Owner) -> None:
        """Tell waiters that `owner` has a new event. Best effort."""
        self._publish(CHANNEL, f"{owner.kind}:{owner.id}")

    def nudge_relay(self) -> None:
        """Wake the relay. Best effort: it polls besides."""
        self._publish(RELAY_CHANNEL, "")

    def ping(self) -> None:
        """Ask Redis for a sign of life. Raises `redis.exceptions.RedisError`."""
        self._client.ping()

    @contextmanager
    def waiting(self, owner: Owner) -> Iterator[threading.Event]:
        """Yield an event that is set when `owner` is announced. Enter before the commit whose consequence you await."""
        news = threading.Event()
        with self._lock:
            self._waiting[owner].add(news)
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="bus", daemon=True)
                self._reader.start()
        try:
            yield news
        finally:
            with self._lock:
                self._waiting[owner].discard(news)
                if not self._waiting[owner]:
                    del self._waiting[owner]

    def close(self) -> None:
        """End the reader, within a second, and give the connections back. A process of ours ends without."""
        self._closing.set()
        if self._reader is not None:
            self._reader.join()
        self._client.close()

    def _publish(self, channel: str, message: str) -> None:
        try:
            with failpoint("bus.announce"):
                self._client.publish(channel, message)
        except RedisError as error:
            log.warning("announcement_lost", channel=channel, error=type(error).__name__)

    def _read(self) -> None:
        while not self._closing.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call] # redis-py leaves it untyped
                    subscription.subscribe(CHANNEL)
                    while not self._closing.is_set():
                        message = subscription.get_message(timeout=1.0)
                        if message is not None:
                            self._wake(message["data"].decode())
            except RedisError as error:
                log.warning("bus_lost", error=type(error).__name__)
                self._closing.wait(_RECONNECT_S)

    def _wake(self, name: str) -> None:
        kind, _, row_id = name.partition(":")
        with self._lock:
            for news in self._waiting.get(Owner(kind, int(row_id)), ()):
                news.set()


class Nudges:
    """The relay's ear: blocks until somebody nudges, or the time is up. Without Redis it is a plain wait."""

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self._subscription: redis.client.PubSub | None = None

    def wait(self, timeout_s: float, stop: threading.Event) -> None:
        """Return at a nudge or after `timeout_s` seconds."""
        try:
            self._listen().get_message(timeout=timeout_s)
        except RedisError as error:
            log.warning("nudges_lost", error=type(error).__name__)
            self._subscription = None
            stop.wait(timeout_s)

    def _listen(self) -> redis.client.PubSub:
        if self._subscription is None:
            subscription = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call] # redis-py
            subscription.subscribe(RELAY_CHANNEL)
            self._subscription = subscription
        return self._subscription
