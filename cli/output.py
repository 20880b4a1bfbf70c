"""What every command shares: where the running stack is, and one JSON object on stdout where asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

DEFAULT_HOME = ".lucid"


def home() -> Path:
    """Return `${LUCID_HOME:-.lucid}`."""
    return Path(os.environ.get("LUCID_HOME") or DEFAULT_HOME)


def home_endpoints() -> dict[str, Any]:
    """Return the map of the embedded stack that runs in this home; empty where none runs."""
    try:
        endpoints: dict[str, Any] = json.loads((home() / "endpoints.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return endpoints
