"""An owner's history, as it happened: one row a move, dense per owner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.kernel.owner import Owner


@dataclass(frozen=True)
class Event:
    """One event. `seq` counts from 1 without gaps; a move carries the states it joined."""

    owner: Owner
    seq: int
    name: str
    from_state: str | None
    to_state: str | None
    body: dict[str, Any]
    at: datetime
