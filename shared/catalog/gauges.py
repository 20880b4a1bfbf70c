"""What an operator watches of the catalogue: how many nodes say what, and how many passports there are."""

from __future__ import annotations

from dataclasses import dataclass

from shared.catalog.model import HEARTBEAT_LIFE_S, NodeStatus, PassportStatus, PassportType
from shared.db.model import Queries
from shared.db.service import Tx

SQL = Queries.beside(__file__)
UNKNOWN = "unknown"
"""No fresh heartbeat."""


@dataclass(frozen=True)
class CatalogGauges:
    """Active nodes by what they last said, `unknown` where that is too old, and passports by type and status."""

    nodes: dict[tuple[str, bool], int]
    passports: dict[tuple[PassportType, PassportStatus], int]


def gauges(tx: Tx) -> CatalogGauges:
    """Read the present figures; what there is none of reads 0. Nodes are told apart by whether they are simulated."""
    nodes = {(status, simulated): 0 for status in (*map(str, NodeStatus), UNKNOWN) for simulated in (False, True)}
    for row in tx.all(SQL["nodes_by_status"], {"life_s": HEARTBEAT_LIFE_S}):
        nodes[row["status"], row["simulated"]] = row["nodes"]
    passports = {(type_, status): 0 for type_ in PassportType for status in PassportStatus}
    for row in tx.all(SQL["passports_by_status"]):
        passports[PassportType(row["type"]), PassportStatus(row["status"])] = row["passports"]
    return CatalogGauges(nodes, passports)
