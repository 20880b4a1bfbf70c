"""Invoices: store the intent, ask the node, record the answer. What a settlement means to its owner is decided above.

The preimage is HMAC(secret, salt) with the salt on the row: nothing secret is stored, and asking the node twice for the same
invoice is harmless because the payment hash is fixed before the first call (`docs/decisions/0004`).
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.derive import derive
from shared.kernel.errors import IntegrityFault
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids
from shared.kernel.owner import Owner
from shared.lightning import store
from shared.lightning.model import (
    INVOICE,
    CancelOutcome,
    Invoice,
    InvoiceStep,
    Node,
    NodeInvoice,
    NodeInvoiceState,
    Opened,
    Purpose,
    Settlement,
    SweepReason,
    Terms,
)
from shared.work.model import StepRef
from shared.work.service import Work

SWEEP = "sweep"
FIND_DUE, SETTLE, ADVANCE = "find_due", "settle", "advance"


class Invoices:
    """The invoice desk. `node` is None in processes that never talk to the Lightning node (web)."""

    def __init__(
        self,
        database: Database,
        *,
        events: Events,
        work: Work,
        ids: Ids,
        secret_key: bytes,
        network: str,
        node: Node | None,
    ) -> None:
        self._database = database
        self._events = events
        self._work = work
        self._ids = ids
        self._secret_key = secret_key
        self._network = network
        self._node = node

    # -- creation

    def intend(self, tx: Tx, owner: Owner, terms: Terms) -> Invoice:
        """Store an invoice with its payment hash, before any node knows of it. A repeated call returns the first one."""
        salt = self._ids.random(32)
        store.insert(tx, owner, terms, preimage_salt=salt, payment_hash=hashlib.sha256(self._preimage(salt)).digest())
        invoice = store.by_purpose(tx, owner, terms.purpose)
        if invoice is None:
            raise IntegrityFault("an invoice vanished in the transaction that stored it")
        return invoice

    def ask_node(self, invoice: Invoice, *, expiry_s: int) -> Opened:
        """Create the invoice at the node, or adopt the one an earlier attempt created, with the expiry that payers will read."""
        from shared.lightning.clients.payment_request import expiry_of

        with failpoint("lnd.add_invoice"):
            payment_request = self._lnd().add_invoice(
                preimage=self._preimage(invoice.preimage_salt),
                amount_msat=invoice.amount_msat,
                memo=invoice.memo,
                expiry_s=expiry_s,
            )
        return Opened(invoice, payment_request, expiry_of(payment_request, network=self._network))

    def opened(self, tx: Tx, answer: Opened) -> bool:
        """Store the node's answer; False where the invoice was abandoned meanwhile."""
        return store.opened(tx, answer.invoice.id, answer.payment_request, answer.expires_at)

    # -- what the node says

    def look_up(self, invoice: Invoice) -> NodeInvoice | None:
        """Ask the node about an invoice; None where it does not know it."""
        with failpoint("lnd.lookup_invoice"):
            return self._lnd().lookup_invoice(invoice.payment_hash)

    def cancel(self, invoice: Invoice) -> CancelOutcome:
        """Make sure that nobody can pay the invoice any more, or learn that somebody has."""
        with failpoint("lnd.cancel_invoice"):
            return self._lnd().cancel_invoice(invoice.payment_hash)

    def record_settlement(self, tx: Tx, invoice: Invoice, settlement: Settlement) -> Invoice | None:
        """Mark the invoice settled once; None where it was settled before. The caller holds the owner's row lock."""
        return store.settled(tx, invoice.id, settlement)

    def lapse(self, tx: Tx, invoice: Invoice) -> bool:
        """Mark the invoice expired; False where it is settled or expired already."""
        return store.lapsed(tx, invoice.id)

    def withdraw(self, tx: Tx, invoice: Invoice) -> bool:
        """Give up an unpaid invoice, here and at the node; False where it is settled or expired already."""
        if not self.lapse(tx, invoice):
            return False
        self._work.start(tx, StepRef(INVOICE, invoice.id, InvoiceStep.WITHDRAW))
        return True

    # -- reading

    def of_owner(self, tx: Tx, owner: Owner) -> dict[Purpose, Invoice]:
        """Return the owner's invoices by purpose."""
        return {invoice.purpose: invoice for invoice in store.of_owner(tx, owner)}

    def by_purpose(self, tx: Tx, owner: Owner, purpose: Purpose) -> Invoice | None:
        """Return the owner's invoice for `purpose`."""
        return store.by_purpose(tx, owner, purpose)

    def by_id(self, tx: Tx, invoice_id: int) -> Invoice | None:
        """Return one invoice."""
        return store.by_id(tx, invoice_id)

    def by_hash(self, tx: Tx, payment_hash: bytes) -> Invoice | None:
        """Return the invoice with this payment hash."""
        return store.by_hash(tx, payment_hash)

    # -- the subscription's place

    def cursor(self) -> int:
        """Return the settle index up to which every settlement is credited."""
        with self._database.transaction() as tx:
            return store.cursor(tx)

    def caught_up(self, settle_index: int) -> None:
        """Raise the stored settle index once everything up to it is credited."""
        with self._database.transaction() as tx, failpoint("cursor.catch_up"):
            store.move_cursor(tx, settle_index)

    def move_cursor(self, tx: Tx, settle_index: int) -> None:
        """Raise the stored settle index in the transaction that credits."""
        store.move_cursor(tx, settle_index)

    # -- sweeps: polling as a chain of find due → settle → advance

    def start_sweep(self, tx: Tx) -> None:
        """Start a sweep over what is due, if anything is; what a clock has put off that ran ahead for a moment is."""
        store.recall(tx, everything=False)
        if store.anything_due(tx):
            sweep_id = store.insert_sweep(tx, SweepReason.TICK)
            self._work.start(tx, StepRef(SWEEP, sweep_id, FIND_DUE))

    def follow_clock(self, tx: Tx) -> None:
        """Have every invoice looked at soon, after the database's clock was set back: nobody would look for as long again."""
        store.recall(tx, everything=True)

    def nudge(self, owner: Owner, *, patience_s: float) -> None:
        """Have a worker ask the node about the owner's open invoices, and wait for that a moment (seconds)."""
        with self._database.transaction() as tx:
            invoice_ids = store.claim_nudge(tx, owner)
            if not invoice_ids:
                return
            sweep = Owner(SWEEP, store.insert_sweep(tx, SweepReason.NUDGE))
            store.assign_to_sweep(tx, invoice_ids, sweep.id)
            self._work.start(tx, StepRef(SWEEP, sweep.id, SETTLE))
        self._events.wait(sweep, look=lambda: self._swept(sweep), deadline_s=patience_s)

    def find_due(self, sweep_id: int) -> None:
        """Assign what is due to the sweep. First link of the polling chain."""

        def finish(tx: Tx, _nothing: None) -> None:
            store.take_due(tx, sweep_id)
            self._work.follow(tx, StepRef(SWEEP, sweep_id, SETTLE))

        self._work.perform(
            StepRef(SWEEP, sweep_id, FIND_DUE), effect=lambda _: None, finish=finish, give_up=lambda _tx, _reason: None
        )

    def read(self, invoice_id: int) -> Invoice:
        """Return the invoice of a step."""
        with self._database.transaction() as tx:
            invoice = store.by_id(tx, invoice_id)
        if invoice is None:
            raise IntegrityFault("a step without its invoice")
        return invoice

    def in_sweep(self, sweep_id: int) -> list[Invoice]:
        """Return the invoices of a sweep that are still to be looked at."""
        with self._database.transaction() as tx:
            return store.in_sweep(tx, sweep_id)

    def end_sweep(self, tx: Tx, sweep_id: int) -> None:
        """Release the sweep's invoices and wake who waits for it."""
        store.leave_sweep(tx, sweep_id)
        self._events.append(tx, Owner(SWEEP, sweep_id), "swept")

    def prune(self, tx: Tx) -> None:
        """Delete sweeps that nobody will ask about, and their events."""
        store.prune_sweeps(tx)
        self._events.prune(tx, SWEEP)

    def _swept(self, sweep: Owner) -> datetime | None:
        seen = self._events.replay(sweep)
        return seen[0].at if seen else None

    def _preimage(self, salt: bytes) -> bytes:
        return derive(self._secret_key, "invoice:v1", salt)

    def _lnd(self) -> Node:
        if self._node is None:
            raise IntegrityFault("this process has no access to the Lightning node")
        return self._node


def settlement_of(said: NodeInvoice) -> Settlement:
    """Return the settlement that the node reports. Raises `IntegrityFault` for an invoice that is not settled."""
    if said.state is not NodeInvoiceState.SETTLED or said.settled_at is None:
        raise IntegrityFault("only a settled invoice is money")
    return Settlement(said.payment_hash, said.amt_paid_msat, said.settled_at, said.settle_index)
