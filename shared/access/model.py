"""Who calls and what a credential allows: API keys with their scopes, macaroons with their caveats."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

OPERATOR = "operator"
"""The tenant of whoever runs the service: shows the admin key, and owns what `lucid catalog sync` registers."""

ANONYMOUS = "anonymous"
"""The tenant of all who call without a key, where the operator allows that."""


class Mode(StrEnum):
    """What a key's calls run on. A test key's run on the simulated model, cost nothing and never reach the Lightning node."""

    LIVE = "live"
    TEST = "test"


class Tier(StrEnum):
    """What a tenant has subscribed to (`plans.PLANS`)."""

    FREE = "free"
    PRO = "pro"
    TEAM = "team"


class Scope(StrEnum):
    """What a key opens. None of them implies another."""

    INFERENCE = "inference"
    VERIFICATION = "verification"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept: everything but its text. `hint`: its two ends, to recognise it by; `rotated_from`: whose place it took."""

    id: int
    key_id: str
    hint: str
    label: str
    tenant: str
    mode: Mode
    tier: Tier
    scopes: frozenset[Scope]
    rotated_from: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    """When it ended, or is to end."""
    email: str | None = field(default=None, repr=False)
    """Whom it was made for, where somebody made it for himself."""


@dataclass(frozen=True)
class IssuedKey:
    """A key at the only moment at which its text is known."""

    text: str = field(repr=False)
    record: ApiKey


@dataclass(frozen=True)
class PaidPlan:
    """A tier that a tenant has paid for, and for how long."""

    tier: Tier
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Principal:
    """Who calls. `key_row` and `key_id` are None where no API key was shown: an anonymous caller, or the admin key.

    `tier`: the better of the key's own and what its tenant has paid for at this moment.
    """

    tenant: str
    mode: Mode
    scopes: frozenset[Scope]
    tier: Tier
    key_row: int | None = None
    key_id: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """True for whoever showed no credential."""
        return self.tenant == ANONYMOUS


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
