"""How a run's price is shared out, in lamports: who gets which part, and the record that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WHOLE_BP = 10_000
MOST_LAMPORTS = 10**30 - 1


class Role(StrEnum):
    """Who takes part, in the order in which a record lists them."""

    COMPUTE = "compute"
    MODEL = "model"
    ORCHESTRATOR = "orchestrator"
    PROTOCOL = "protocol"


@dataclass(frozen=True)
class SplitConfig:
    """Each role's part in basis points; together they are the whole."""

    compute_bp: int
    model_bp: int
    orchestrator_bp: int
    protocol_bp: int

    def of(self, role: Role) -> int:
        """Return the role's part."""
        parts = {
            Role.COMPUTE: self.compute_bp,
            Role.MODEL: self.model_bp,
            Role.ORCHESTRATOR: self.orchestrator_bp,
            Role.PROTOCOL: self.protocol_bp,
        }
        return parts[role]


DEFAULT_SPLIT = SplitConfig(compute_bp=7000, model_bp=2000, orchestrator_bp=0, protocol_bp=1000)


@dataclass(frozen=True)
class Wallets:
    """Where the parts go, as the caller wrote it. What is missing goes to the treasury."""

    compute: str
    model: str | None = None
    orchestrator: str | None = None


@dataclass(frozen=True)
class Terms:
    """What is to be shared out, and how."""

    run_id: str
    total_lamports: int
    wallets: Wallets
    config: SplitConfig = DEFAULT_SPLIT


@dataclass(frozen=True)
class Share:
    """One recipient's part."""

    role: Role
    wallet: str
    bp: int
    lamports: int


@dataclass(frozen=True)
class Split:
    """One run's record, written once: `record` is its canonical form (RFC 8785), `payout_hash` the SHA-256 of just these bytes."""

    run_id: str
    record: bytes
    payout_hash: bytes


@dataclass(frozen=True)
class SplitVerification:
    """What holds of a record that was read back."""

    total_matches: bool
    recipients_valid: bool
    hash_valid: bool

    @property
    def valid(self) -> bool:
        """Whether everything does."""
        return self.total_matches and self.recipients_valid and self.hash_valid
