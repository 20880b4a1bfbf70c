"""Nodes: what they say of themselves, believed for thirty seconds, and what was met when they were called."""

from __future__ import annotations

from shared.catalog import store
from shared.catalog.model import Heartbeat, NodeFaults, Passport, PassportStatus, PassportType, Pulse, Viewer
from shared.db.service import Database, Tx
from shared.kernel.errors import Conflict, Forbidden, NotFound
from shared.kernel.failpoints import effect as failpoint

MOST_TOLD = 1000
_LONGEST_CODE = 64


class Nodes:
    """Heartbeats and faults of compute passports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, viewer: Viewer, passport_id: str, pulse: Pulse) -> Heartbeat:
        """Take a node's word, a full replacement stamped now. Raises `NotFound`, `Forbidden` (not his), `Conflict` (revoked)."""
        with self._database.transaction() as tx, failpoint("node.beat"):
            node = self._visible(tx, viewer, passport_id)
            if node.tenant != viewer.tenant or viewer.is_test:
                raise Forbidden("only the one who registered a node speaks for it")
            if node.status is PassportStatus.REVOKED:
                raise Conflict("the node's passport is revoked", code="passport_revoked")
            return store.beat(tx, passport_id, pulse)

    def health(self, viewer: Viewer, passport_id: str) -> tuple[Heartbeat, NodeFaults | None] | None:
        """Return the node's fresh heartbeat, whatever it says, and what was met there; None where there is none, or no such node."""
        with self._database.transaction() as tx:
            node = store.by_id(tx, viewer, passport_id)
            heard = store.heard(tx, passport_id) if node is not None else None
            if heard is None or not heard.is_fresh:
                return None
            return heard, store.faults(tx, passport_id)

    def history(self, viewer: Viewer, passport_id: str, *, limit: int) -> list[Heartbeat]:
        """Return the node's heartbeats of the last hour, newest first. Raises `NotFound`."""
        with self._database.transaction() as tx:
            self._visible(tx, viewer, passport_id)
            return store.heartbeat_history(tx, passport_id, limit=min(limit, MOST_TOLD))

    def prune(self, tx: Tx) -> int:
        """Delete what is older than an hour; return how many heartbeats."""
        return store.prune_history(tx)

    def _visible(self, tx: Tx, viewer: Viewer, passport_id: str) -> Passport:
        node = store.by_id(tx, viewer, passport_id)
        if node is None or node.type is not PassportType.COMPUTE:
            raise NotFound("compute node not found")
        return node


def met_fault(tx: Tx, passport_id: str, code: str) -> None:
    """Count a call to a node that failed, in the transaction that ends it. `code`: the inference API's `error_code`."""
    store.fault_met(tx, passport_id, code[:_LONGEST_CODE])


def met_answer(tx: Tx, passport_id: str) -> None:
    """End a node's row of faults; where it has none, which is the rule, nothing is written."""
    store.answer_met(tx, passport_id)
