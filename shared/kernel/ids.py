"""Identifiers. Public ids are keys to money or privacy, so they carry at least 128 random bits."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]

_PUBLIC_ID = re.compile(r"^[a-z]{2,12}_[0-9a-f]{32}$")


class Ids:
    """Makes ids and random bytes from one injected source."""

    def __init__(self, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        self._random_bytes = random_bytes

    def public(self, prefix: str) -> str:
        """Return `prefix_` and 32 lower-case hex digits (128 random bits)."""
        return f"{prefix}_{self._random_bytes(16).hex()}"

    def random(self, length: int) -> bytes:
        """Return `length` random bytes."""
        return self._random_bytes(length)


def is_public(value: str, prefix: str) -> bool:
    """Tell whether `value` has the form of a public id with this prefix. Guards look-ups against hostile text."""
    return bool(_PUBLIC_ID.match(value)) and value.startswith(prefix + "_")
