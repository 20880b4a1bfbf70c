"""Many rows, each in a transaction of its own: one that cannot be done keeps nobody else from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from shared.kernel.errors import Unavailable

log = structlog.get_logger(__name__)

MOST_FUTILE = 3
"""So often a database that does not answer, or locks that cannot be had, are met before the rest is left to the next turn."""


def each_apart(kind: str, row_ids: Sequence[int], do: Callable[[int], None]) -> None:
    """Call `do` for each row. What it raises is logged and is of that row alone, but for the third `Unavailable`, which goes on."""
    futile = 0
    for row_id in row_ids:
        try:
            do(row_id)
        except Unavailable:
            futile += 1
            if futile == MOST_FUTILE:
                raise
        except Exception as error:  # noqa: BLE001 - of this row alone; the doctor finds it
            log.warning("row_left", kind=kind, row=row_id, error=type(error).__name__)
