"""Our books against the node's, invoice by invoice and payment by payment. Changes nothing but its own record.

Ours are read first, all as of one moment, then the node's: what is money here must be money there. What the node has beyond that
may be under way: it is looked up here once more, and counts only where it is more than a minute old.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from shared.agent.differences import Difference, NodeBooks, OurBooks, SettledAtNode, compare, payouts_behind
from shared.db.model import Queries
from shared.db.service import Database, Tx
from shared.kernel.clock import Clock
from shared.kernel.errors import LucidError
from shared.kernel.failpoints import effect as failpoint
from shared.ledger import service as ledger
from shared.ledger import statement as entries
from shared.ledger.model import Account
from shared.lightning import payout_store, statement, store
from shared.lightning.model import Invoice, InvoiceState, NodeInvoice, NodePayment
from shared.lightning.statement import PayoutRow

SQL = Queries.beside(__file__)

log = structlog.get_logger(__name__)

UNDER_WAY = timedelta(minutes=1)
_MOST_KEPT = 1000


class ReceivedList(Protocol):
    """What is asked of the node about money in."""

    def list_settled_after(self, settle_index: int = 0) -> Iterable[NodeInvoice]:
        """Yield every settled invoice with a higher settle index."""
        ...


class PaidList(Protocol):
    """What is asked of the node about money out."""

    def payments(self) -> Iterable[NodePayment]:
        """Yield every payment on record, whatever became of it."""
        ...


@dataclass(frozen=True)
class Reconciled:
    """What a comparison found. `invoices` and `payments` count the node's, `under_way` what is too young to judge."""

    differences: list[Difference]
    invoices: int
    payments: int
    under_way: int
    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True)
class LastReconciled:
    """The newest comparison on record: how many differences (a thousand at most), how many seconds ago, the first codes."""

    differences: int
    codes: list[str]
    age_s: float


class Reconciliation:
    """Compares. Needs a macaroon that lists invoices and one that lists payments. What is younger than `under_way` may change."""

    def __init__(
        self,
        database: Database,
        *,
        received: ReceivedList,
        paid: PaidList,
        clock: Clock,
        under_way: timedelta = UNDER_WAY,
    ) -> None:
        self._database = database
        self._received = received
        self._paid = paid
        self._clock = clock
        self._under_way = under_way

    def run(self) -> Reconciled:
        """Compare and keep the outcome. Raises `LightningError` or `Unavailable` where one side cannot be read."""
        began_at = self._clock.now()
        ours = self._ours()
        invoices = {said.payment_hash: said for said in self._received.list_settled_after(0)}
        payments = {said.payment_hash: said for said in self._paid.payments()}
        known, young = self._look_again(ours, invoices, payments, since=began_at - self._under_way)
        node = NodeBooks(
            {
                payment_hash: SettledAtNode(said.amt_paid_msat, said.settle_index)
                for payment_hash, said in invoices.items()
                if payment_hash not in young
            },
            {payment_hash: said for payment_hash, said in payments.items() if payment_hash not in young},
        )
        found = compare(ours, node, known=known, under_way=young)
        outcome = Reconciled(found, len(invoices), len(payments), len(young), began_at, self._clock.now())
        with failpoint("books.reconcile"):
            self._keep(outcome)
        return outcome

    def run_unattended(self) -> None:
        """Compare where nobody looks: the log and the record say what came of it."""
        try:
            outcome = self.run()
        except LucidError as error:
            log.warning("books_not_compared", error=error.code)
            return
        if outcome.differences:
            codes = sorted({found.code for found in outcome.differences})
            log.warning("books_differ", differences=len(outcome.differences), codes=codes)

    def _ours(self) -> OurBooks:
        with self._database.transaction() as tx:
            tx.run(SQL["one_view"])
            booked = list(entries.node_entries(tx))
            return OurBooks(
                invoices={row.payment_hash: row for row in statement.settled_rows(tx)},
                payouts={row.payment_hash: row for row in statement.payout_rows(tx)},
                received={entry.ref: entry.node_msat for entry in booked if entry.kind == entries.RECEIVE},
                paid_out={entry.ref: entry.node_msat for entry in booked if entry.kind == entries.PAY_OUT},
                bound=entries.bound_debts(tx),
                broken=entries.broken_entries(tx),
                debtors=entries.disputed_debtors(tx),
                node_msat=ledger.totals(tx).get(Account.NODE, 0),
            )

    def _look_again(
        self,
        ours: OurBooks,
        invoices: Mapping[bytes, NodeInvoice],
        payments: Mapping[bytes, NodePayment],
        *,
        since: datetime,
    ) -> tuple[frozenset[bytes], frozenset[bytes]]:
        """Return which of the node's settled invoices are ours and not settled here, and what is under way."""
        known: set[bytes] = set()
        young: set[bytes] = set()
        with self._database.transaction() as tx:
            for payment_hash in invoices.keys() - ours.invoices.keys():
                invoice = store.by_hash(tx, payment_hash)
                if _is_after(since, invoices[payment_hash].settled_at) or _is_settled(invoice):
                    young.add(payment_hash)
                elif invoice is not None:
                    known.add(payment_hash)
            for payment_hash in payouts_behind(ours, payments):
                payout, row = payout_store.by_hash(tx, payment_hash), ours.payouts.get(payment_hash)
                has_moved = payout is not None and (row is None or payout.state is not row.state)
                if has_moved or _is_after(since, _moved_at(row, payments.get(payment_hash))):
                    young.add(payment_hash)
        return frozenset(known), frozenset(young)

    def _keep(self, outcome: Reconciled) -> None:
        shown = [
            {"code": found.code, "subject": found.subject, "detail": found.detail}
            for found in outcome.differences[:_MOST_KEPT]
        ]
        parameters = {
            "differences": json.dumps(shown),
            "invoices": outcome.invoices,
            "payments": outcome.payments,
            "began_at": outcome.began_at,
        }
        with self._database.transaction() as tx:
            tx.run(SQL["keep_reconciliation"], parameters)
            tx.run(SQL["prune_reconciliations"])


def last_reconciled(tx: Tx) -> LastReconciled | None:
    """Return the newest comparison on record; None where there has been none."""
    row = tx.one(SQL["last_reconciliation"])
    if row is None:
        return None
    codes = sorted({difference["code"] for difference in row["differences"]})
    return LastReconciled(row["found"], codes, row["age_s"])


def _is_settled(invoice: Invoice | None) -> bool:
    return invoice is not None and invoice.state is InvoiceState.SETTLED


def _moved_at(row: PayoutRow | None, said: NodePayment | None) -> datetime | None:
    """Return when the latest of it happened that anybody knows of."""
    times = [row.moved_at if row else None, said.created_at if said else None, said.ended_at if said else None]
    return max((at for at in times if at is not None), default=None)


def _is_after(since: datetime, at: datetime | None) -> bool:
    return at is not None and at > since
