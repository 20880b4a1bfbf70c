"""Idempotency keys and the answers kept under them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.kernel.errors import Conflict, InvalidInput
from shared.kernel.owner import Owner


class KeyInUse(Conflict):
    """The first request with this key has not been answered yet. `retry_after_s`: whole seconds until a new try makes sense."""

    code = "idempotency_key_in_use"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyReused(InvalidInput):
    """The key came with another request before."""

    code = "idempotency_key_reused"


@dataclass(frozen=True)
class KeyRef:
    """A key as its caller sent it, within `scope`: who calls what, so that nobody reads another's answer."""

    scope: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Claim:
    """The right to answer. `claimed_at` is its fence: who took the key over has another.

    `made`: what an earlier request under this key made, and could not answer for.
    """

    ref: KeyRef
    claimed_at: datetime
    made: Owner | None = None


@dataclass(frozen=True)
class Answer:
    """A stored answer: the status, and whatever the edge needs to say it again."""

    status: int
    body: dict[str, Any] = field(repr=False)
