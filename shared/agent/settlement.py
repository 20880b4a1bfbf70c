"""The only settle use case. Listener, sweep and a GET's nudge all end here; the same settlement credits once.

One transaction: the invoice is settled, the ledger credits the owner, the owner's machine moves, the next chain is in the outbox.
What a payment means to its owner is its kind's own `Funding`, handed in by the composition root.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from shared.db.service import Database, Tx
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.owner import Owner
from shared.ledger import service as ledger
from shared.lightning.model import Invoice, Settlement
from shared.lightning.service import Invoices

log = structlog.get_logger(__name__)


class Funding(Protocol):
    """What a payment means to one kind of owner. Everything happens in the caller's transaction."""

    def lock(self, tx: Tx, owner_id: int, /) -> Any:
        """Return the owner's row and hold its lock. Raises `IntegrityFault` where there is none."""
        ...

    def paid(self, tx: Tx, owner: Any, invoice: Invoice, /, *, paid_msat: int) -> None:
        """Let a locked owner go on with money that the ledger has received for it."""
        ...

    def lapsed(self, tx: Tx, owner: Any, invoice: Invoice, /) -> None:
        """Note that an invoice of a locked owner cannot be paid any more."""
        ...


class Settlements:
    """Turns what the Lightning node says into money and moves. `fundings`: by the kind of an invoice's owner."""

    def __init__(self, database: Database, *, invoices: Invoices, fundings: Mapping[str, Funding]) -> None:
        self._database = database
        self._invoices = invoices
        self._fundings = fundings

    def settle(self, settlement: Settlement, *, from_subscription: bool = False) -> bool:
        """Credit a settlement once; False where it was credited before or is not ours.

        `from_subscription` moves the subscription's place in the same transaction, also for what is not ours.
        """
        with self._database.transaction() as tx, failpoint("invoice.settle"):
            credited = self._credit(tx, settlement)
            if from_subscription:
                self._invoices.move_cursor(tx, settlement.settle_index)
        return credited

    def lapse(self, invoice: Invoice) -> bool:
        """End an unpaid invoice that the node has cancelled, and its owner's waiting; False where it was not open any more."""
        with self._database.transaction() as tx:
            owner = self._lock(tx, invoice.owner)
            with failpoint("invoice.lapse"):
                if not self._invoices.lapse(tx, invoice):
                    return False
                self._fundings[invoice.owner.kind].lapsed(tx, owner, invoice)
        return True

    def _credit(self, tx: Tx, settlement: Settlement) -> bool:
        found = self._invoices.by_hash(tx, settlement.payment_hash)
        if found is None:
            log.info("foreign_invoice_settled", settle_index=settlement.settle_index)
            return False
        owner = self._lock(tx, found.owner)
        invoice = self._invoices.record_settlement(tx, found, settlement)
        if invoice is None:
            return False
        ledger.receive(tx, invoice.owner, ref=invoice.payment_hash.hex(), amount_msat=settlement.paid_msat)
        self._fundings[invoice.owner.kind].paid(tx, owner, invoice, paid_msat=settlement.paid_msat)
        return True

    def _lock(self, tx: Tx, owner: Owner) -> Any:
        """Lock order everywhere: the owner first, then its invoice, then its accounts."""
        if owner.kind not in self._fundings:
            raise IntegrityFault("an invoice without its owner")
        return self._fundings[owner.kind].lock(tx, owner.id)
