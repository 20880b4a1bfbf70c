"""Times at this door's edge."""

from __future__ import annotations

from datetime import datetime


def moment(at: datetime | None) -> str | None:
    """Return an ISO 8601 UTC time to the second; None for none."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
