"""The listener: hears settlements from the Lightning node as they happen. Without it, polling alone moves everything, later."""

from __future__ import annotations

import signal
import threading
from typing import Any

import structlog

from config.logging import bind_correlation_id, new_correlation_id
from shared.bootstrap import Container, Role, start_from_environment
from shared.kernel.errors import Unavailable
from shared.lightning.clients.faults import LightningError
from shared.lightning.model import NodeInvoice
from shared.lightning.service import settlement_of

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0


def run(container: Container, stop: threading.Event) -> None:
    """Listen until `stop` is set. After any break the node replays from the stored index, which moves with the credit."""
    pause_s = _FIRST_PAUSE_S
    while not stop.is_set():
        try:
            for said in _settlements(container, stop):
                _settle(container, said)
                pause_s = _FIRST_PAUSE_S
        except (LightningError, Unavailable) as error:
            log.warning("listener_waits", error=error.code, pause_s=pause_s)
            stop.wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)


def _settlements(container: Container, stop: threading.Event) -> Any:
    """Yield what was missed, then what comes. lnd replays nothing for index 0, so the first run reads the list."""
    cursor = container.invoices.cursor()
    if cursor == 0:
        yield from container.node.list_settled_after(0)
        cursor = container.invoices.cursor()
    log.info("listening", settle_index=cursor)
    yield from container.node.subscribe_invoices(cursor, stop=stop)


def _settle(container: Container, said: NodeInvoice) -> None:
    bind_correlation_id(new_correlation_id())
    container.settlements.settle(settlement_of(said), from_subscription=True)


def main() -> None:
    """Run as a process of its own until SIGTERM or SIGINT."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    container = start_from_environment(Role.LISTENER)
    run(container, stop)
    container.node.close()
    container.database.close()


if __name__ == "__main__":
    main()
