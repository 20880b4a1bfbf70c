"""How the process of the Python sandbox says, by its exit code, why it ended before its work was done."""

from __future__ import annotations

EXIT_NOT_LOADED = 3
EXIT_STUCK = 4
