"""What an operator watches of verifications: how many are under way, how long the oldest has been, and what should never be."""

from __future__ import annotations

from dataclasses import dataclass

from shared.db.model import Queries
from shared.db.service import Tx
from shared.verification.model import VERIFICATION_ENDED, VerificationState

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class VerificationGauges:
    """Verifications under way by state, and for how long the oldest in each has been since it was accepted, in seconds."""

    verifications: dict[VerificationState, int]
    oldest_s: dict[VerificationState, float]


def gauges(tx: Tx) -> VerificationGauges:
    """Read the present figures; states without rows read 0."""
    found = {VerificationState(row["state"]): row for row in tx.all(SQL["verifications_by_state"])}
    under_way = [state for state in VerificationState if state not in VERIFICATION_ENDED]
    return VerificationGauges(
        verifications={state: found[state]["verifications"] if state in found else 0 for state in under_way},
        oldest_s={state: found[state]["oldest_s"] if state in found else 0.0 for state in under_way},
    )


@dataclass(frozen=True)
class VerificationFaults:
    """What must be none: verifications that no step will end, and complete or cancelled ones without a receipt.

    `overdue_s`: how long ago the time of one under way was up.
    """

    stranded: int
    without_receipt: int
    overdue_s: float


def faults(tx: Tx) -> VerificationFaults:
    """Count them. Reads every verification."""
    row = tx.one(SQL["verification_faults"])
    assert row is not None  # noqa: S101 - aggregates always answer
    return VerificationFaults(**row)
