"""What an operator watches of API keys: how many are valid."""

from __future__ import annotations

from dataclasses import dataclass

from shared.access.model import Mode, Tier
from shared.db.model import Queries
from shared.db.service import Tx

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class KeyGauges:
    """Valid keys by mode and tier, never by tenant: labels stay few."""

    keys: dict[tuple[Mode, Tier], int]


def gauges(tx: Tx) -> KeyGauges:
    """Read the present figures; what there is none of reads 0."""
    keys = {(mode, tier): 0 for mode in Mode for tier in Tier}
    for row in tx.all(SQL["valid_keys"]):
        keys[Mode(row["mode"]), Tier(row["tier"])] = row["keys"]
    return KeyGauges(keys)
