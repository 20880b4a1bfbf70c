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
            _catch_up(container)
            for said in container.node.subscribe_invoices(container.invoices.cursor(), stop=stop):
                _settle(container, said, moves_cursor=True)
                pause_s = _FIRST_PAUSE_S
        except (LightningError, Unavailable) as error:
            log.warning("listener_waits", error=error.code, pause_s=pause_s)
            stop.wait(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)


def _catch_up(container: Container) -> None:
    """Credit what was settled before the first start: lnd replays nothing for index 0.

    The list is ordered by creation, so the cursor moves once, at the end: a death in between starts the list again.
    """
    if container.invoices.cursor():
        return
    highest = 0
    for said in container.node.list_settled_after(0):
        _settle(container, said, moves_cursor=False)
        highest = max(highest, said.settle_index)
    container.invoices.caught_up(highest)
    log.info("listening", settle_index=highest)


def _settle(container: Container, said: NodeInvoice, *, moves_cursor: bool) -> None:
    bind_correlation_id(new_correlation_id())
    container.settlements.settle(settlement_of(said), from_subscription=moves_cursor)


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
