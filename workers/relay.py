"""The relay: publishes outbox rows as chains. Wakes at a nudge, and every 250 ms without one."""

from __future__ import annotations

import signal
import threading
from typing import Any

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.bootstrap import Container, Role, start_from_environment
from shared.events.client import Nudges
from shared.kernel.errors import Unavailable
from shared.work.model import Message
from workers import chains

log = structlog.get_logger(__name__)

POLL_S = 0.25
PAUSE_S = 1.0
BATCH = 100


def run(container: Container, stop: threading.Event) -> None:
    """Publish until `stop` is set. Whatever is down is waited for: the rows stay."""
    nudges = Nudges(container.settings.redis_events_url)
    while not stop.is_set():
        try:
            if container.work.relay(publish, batch=BATCH) < BATCH:
                nudges.wait(POLL_S, stop)
        except (Unavailable, OperationalError, RedisError, OSError) as error:
            log.warning("relay_waits", error=type(error).__name__)
            stop.wait(PAUSE_S)


def publish(message: Message) -> None:
    """Send a row's chain. A row that this release has no chain for must not block the others: its step, if any, is rung again."""
    try:
        chains.publish(message)
    except chains.NoChain as error:
        log.exception("no_chain", chain=str(error))


def main() -> None:
    """Run as a process of its own until SIGTERM or SIGINT."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    container = start_from_environment(Role.RELAY)
    log.info("relay_ready")
    run(container, stop)
    container.database.close()


if __name__ == "__main__":
    main()
