"""What a macaroon that was found good allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Grant:
    """What the holder of a good macaroon may do, and only that. `max_sats`: the most that one call may reserve.

    `needs_preimage`: only whoever shows the preimage of its payment too may do it. `restrictions` are the caveats beyond our own
    expiry: whoever hands out another macaroon on the strength of this one has to pass them on.
    """

    payment_hash: bytes
    subject: str
    subject_id: str = field(repr=False)
    max_sats: int | None = None
    expires_at: datetime | None = None
    needs_preimage: bool = False
    restrictions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Macaroon:
    """A macaroon taken apart. `caveats` are first-party ones, in the order in which they were added."""

    identifier: bytes
    caveats: tuple[bytes, ...]
    signature: bytes = field(repr=False)
