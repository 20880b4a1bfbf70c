"""Many at once: a thread for each share of the work."""

from __future__ import annotations

import threading
from collections.abc import Callable


def at_once(act: Callable[[int, int], None], count: int, *, threads: int) -> None:
    """Split `count` among so many threads; call `act` with each one's number and share. Raises what the first to fail raised."""
    faults: list[BaseException] = []

    def run(number: int, share: int) -> None:
        try:
            act(number, share)
        except BaseException as error:  # noqa: BLE001 - raised again, in the caller's thread
            faults.append(error)

    shares = [count // threads + (part < count % threads) for part in range(threads)]
    started = [threading.Thread(target=run, args=pair) for pair in enumerate(shares)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if faults:
        raise faults[0]
