"""Passports and heartbeats: what there is to run, who may see it, and how a passport's life moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.kernel.owner import Owner

PASSPORT = "passport"
OPERATOR = "operator"
"""The tenant whose passports all others see: what the settings name is registered for it."""
SIMULATED = "simulated"
TEST_MODE = "test"
"""The mode of keys that see simulated passports only."""
HEARTBEAT_LIFE_S = 30
HISTORY_S = 3600
MOST_CANDIDATES = 100


class PassportType(StrEnum):
    """What a passport is of."""

    MODEL = "model"
    COMPUTE = "compute"
    TOOL = "tool"
    DATASET = "dataset"
    AGENT = "agent"
    VOICE = "voice"
    OTHER = "other"


class PassportStatus(StrEnum):
    """Whether it counts. Only active ones are listed by kind, resolved by name and run on."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    REVOKED = "revoked"


class PassportEvent(StrEnum):
    """What happens to a passport."""

    DEPRECATED = "deprecated"
    RESTORED = "restored"
    REVOKED = "revoked"


PASSPORT_TRANSITIONS = {
    (PassportStatus.ACTIVE, PassportEvent.DEPRECATED): PassportStatus.DEPRECATED,
    (PassportStatus.DEPRECATED, PassportEvent.RESTORED): PassportStatus.ACTIVE,
    (PassportStatus.ACTIVE, PassportEvent.REVOKED): PassportStatus.REVOKED,
    (PassportStatus.DEPRECATED, PassportEvent.REVOKED): PassportStatus.REVOKED,
}
LEADS_TO = {
    PassportStatus.ACTIVE: PassportEvent.RESTORED,
    PassportStatus.DEPRECATED: PassportEvent.DEPRECATED,
    PassportStatus.REVOKED: PassportEvent.REVOKED,
}
"""The event that a caller asks for who names the status he wants."""


class NodeStatus(StrEnum):
    """How a node says that it is. Only healthy ones are run on."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"


class SortBy(StrEnum):
    """What a list is ordered by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks. He sees the rows of his own tenant and the operator's, simulated ones with a test key and others without."""

    tenant: str
    mode: str

    @property
    def is_test(self) -> bool:
        """True for test keys."""
        return self.mode == TEST_MODE


@dataclass(frozen=True, slots=True)
class Passport:
    """One row. `tenant`: whose key made it; `owner`: the wallet address that its maker named.

    `resolves`: in a list, whether the name leads to this very passport (another of the same name may come first).
    """

    id: int
    passport_id: str
    type: PassportType
    status: PassportStatus
    tenant: str
    owner: str
    name: str
    description: str
    version: str
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    metadata_hash: bytes
    pricing: Mapping[str, Any] | None
    endpoints: Mapping[str, Any] | None
    simulated: bool
    configured: bool
    created_at: datetime
    updated_at: datetime
    resolves: bool = False

    @property
    def history(self) -> Owner:
        """Return whose events tell this passport's moves."""
        return Owner(PASSPORT, self.id)

    @property
    def is_made_up(self) -> bool:
        """True of the simulated model, whoever may use it: what it answers is made up."""
        return self.simulated or (self.configured and SIMULATED in self.tags)

    @property
    def upstream_model(self) -> str:
        """Return what an endpoint knows a model by: the name it states for APIs, else its repository, else its own name."""
        hub = self.metadata.get("hf")
        repository = hub.get("repo_id") if isinstance(hub, Mapping) else None
        stated = (self.metadata.get("api_model_id"), self.metadata.get("provider_model_id"), repository, self.name)
        return next((str(name) for name in stated if name), self.passport_id)


@dataclass(frozen=True, slots=True)
class Draft:
    """A passport before it has an id. `metadata` names itself by a placeholder that the id replaces."""

    type: PassportType
    owner: str
    metadata: Mapping[str, Any]
    name: str = ""
    description: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What of a passport is to be another; None: not this."""

    metadata: Mapping[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    version: str | None = None
    tags: tuple[str, ...] | None = None
    status: PassportStatus | None = None

    @property
    def is_empty(self) -> bool:
        """True where nothing is to change."""
        members = (self.metadata, self.name, self.description, self.version, self.tags, self.status)
        return all(member is None for member in members)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which passports; empty and None: all. `tags` must all match, or any where `any_tag`. Sizes in GB of video memory."""

    types: tuple[PassportType, ...] = ()
    statuses: tuple[PassportStatus, ...] = ()
    owner: str | None = None
    tags: tuple[str, ...] = ()
    any_tag: bool = False
    search: str | None = None
    # of models
    runtime: str | None = None
    format: str | None = None
    max_vram: int | None = None
    available: bool | None = None
    # of nodes
    regions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    provider_type: str | None = None
    min_vram: int | None = None
    gpu: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order. `number` counts from 1."""

    number: int = 1
    size: int = 20
    sort_by: SortBy = SortBy.CREATED_AT
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """A page's passports, and how many there are in all."""

    passports: tuple[Passport, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a node says of itself. `price`: dollars per 1000 tokens; `p95`: milliseconds."""

    status: NodeStatus
    queue_depth: int | None = None
    price: Decimal | None = None
    p95: int | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A pulse as we heard it; `is_fresh` while it is not older than its life."""

    passport_id: str
    pulse: Pulse
    seen_at: datetime
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class NodeFaults:
    """What we met at a node. `in_a_row` counts since it last answered."""

    in_a_row: int
    in_all: int
    code: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """Passports in numbers."""

    total: int
    by_type: Mapping[PassportType, int] = field(default_factory=dict)
    by_status: Mapping[PassportStatus, int] = field(default_factory=dict)
