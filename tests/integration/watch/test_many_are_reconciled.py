"""A comparison over more rows than a page holds: the books of twelve thousand invoices and three thousand payouts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from shared.agent.differences import DifferenceCode
from shared.agent.reconciliation import Reconciled, Reconciliation, last_reconciled
from shared.bootstrap import Container
from shared.lightning.model import NodeInvoice, NodeInvoiceState, NodePayment, NodePaymentState
from tests.integration.watch.conftest import Vandal

INVOICES, PAYOUTS = 12_000, 3_000
PAID_MSAT, REFUND_MSAT, FEE_MSAT = 30_000, 20_000, 100
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251 - the node's clock, not the product's

BUSINESS = f"""
INSERT INTO invoices (owner_kind, owner_id, purpose, state, preimage_salt, payment_hash, amount_msat, memo, payment_request, expires_at,
                      settled_at, paid_msat, settle_index, next_check)
SELECT 'job', n, 'eval', 'settled', sha256(('salt' || n)::bytea), sha256(('invoice' || n)::bytea), {PAID_MSAT}, '', 'lnbcrt' || n, now(),
       now() - interval '1 h', {PAID_MSAT}, n, now()
  FROM generate_series(1, {INVOICES}) AS n;
INSERT INTO entries (kind, ref) SELECT 'receive', encode(payment_hash, 'hex') FROM invoices ORDER BY id;
INSERT INTO postings (entry_id, account, owner_kind, owner_id, amount_msat)
SELECT entries.id, account, kind_of, CASE WHEN kind_of IS NULL THEN NULL ELSE invoices.owner_id END, sign * {PAID_MSAT}
  FROM entries JOIN invoices ON encode(payment_hash, 'hex') = ref,
       (VALUES ('node', NULL, 1), ('customer', 'job', -1)) AS line (account, kind_of, sign);
INSERT INTO payouts (owner_kind, owner_id, state, payment_request, payment_hash, amount_msat, fee_limit_msat, expires_at,
                     preimage, fee_msat, sent_at, ended_at)
SELECT 'job', n, 'paid', 'lnbcrt', sha256(sha256(('refund' || n)::bytea)), {REFUND_MSAT}, 1000, now(),
       sha256(('refund' || n)::bytea), {FEE_MSAT}, now() - interval '1 h', now()
  FROM generate_series(1, {PAYOUTS}) AS n;
INSERT INTO entries (kind, ref) SELECT 'owe', 'job:' || owner_id FROM payouts ORDER BY id;
INSERT INTO postings (entry_id, account, owner_kind, owner_id, amount_msat)
SELECT entries.id, account, 'job', owner_id, sign * {REFUND_MSAT}
  FROM entries JOIN payouts ON ref = 'job:' || owner_id, (VALUES ('customer', 1), ('debts_payable', -1)) AS line (account, sign);
INSERT INTO debts (owner_kind, owner_id, reason, ref, amount_msat, state, entry_id, payout_id)
SELECT 'job', owner_id, 'unused', 'work', {REFUND_MSAT}, 'paid', entries.id, payouts.id
  FROM payouts JOIN entries ON ref = 'job:' || owner_id;
INSERT INTO entries (kind, ref) SELECT 'pay_out', id::text FROM payouts ORDER BY id;
INSERT INTO postings (entry_id, account, owner_kind, owner_id, amount_msat)
SELECT entries.id, account, kind_of, CASE WHEN kind_of IS NULL THEN NULL ELSE owner_id END, amount_msat_of
  FROM entries JOIN payouts ON kind = 'pay_out' AND ref = payouts.id::text,
       (VALUES ('debts_payable', 'job', {REFUND_MSAT}), ('node', NULL, -{REFUND_MSAT}), ('routing_fees', NULL, {FEE_MSAT}),
               ('node', NULL, -{FEE_MSAT})) AS line (account, kind_of, amount_msat_of)
"""  # noqa: S608 - our own numbers


class NodeLists:
    """What the node would list: the same business, from the other side."""

    def __init__(self) -> None:
        self.invoices = [
            NodeInvoice(
                payment_hash=hashlib.sha256(f"invoice{number}".encode()).digest(),
                payment_request="",
                state=NodeInvoiceState.SETTLED,
                value_msat=PAID_MSAT,
                amt_paid_msat=PAID_MSAT,
                add_index=number,
                settle_index=number,
                settled_at=LONG_AGO,
            )
            for number in range(1, INVOICES + 1)
        ]
        self.paid = [self._payment(number) for number in range(1, PAYOUTS + 1)]

    def list_settled_after(self, settle_index: int = 0) -> Iterable[NodeInvoice]:
        return (invoice for invoice in self.invoices if invoice.settle_index > settle_index)

    def payments(self) -> Iterable[NodePayment]:
        return iter(self.paid)

    def _payment(self, number: int) -> NodePayment:
        preimage = hashlib.sha256(f"refund{number}".encode()).digest()
        payment_hash = hashlib.sha256(preimage).digest()
        state = NodePaymentState.SUCCEEDED
        return NodePayment(payment_hash, state, REFUND_MSAT, FEE_MSAT, preimage, "NONE", LONG_AGO, LONG_AGO)


@pytest.fixture
def node() -> NodeLists:
    return NodeLists()


@pytest.fixture
def books(container: Container, vandal: Vandal) -> Container:
    for statement in BUSINESS.split(";\n"):
        vandal.run(statement)
    return container


def compared(container: Container, node: NodeLists) -> Reconciled:
    return Reconciliation(container.database, received=node, paid=node, clock=container.clock).run()


def test_books_of_many_pages_are_compared_to_the_last_row(books: Container, node: NodeLists, vandal: Vandal) -> None:
    true = compared(books, node)
    assert (true.differences, true.invoices, true.payments, true.under_way) == ([], INVOICES, PAYOUTS, 0)

    vandal.run(f"UPDATE invoices SET paid_msat = paid_msat + 1 WHERE owner_id = {INVOICES}")  # noqa: S608
    vandal.run(f"UPDATE payouts SET fee_msat = 0 WHERE owner_id = {PAYOUTS}")  # noqa: S608
    lost = node.invoices.pop(4_999)
    found = {(difference.code, difference.subject) for difference in compared(books, node).differences}
    last_hash, last_payout = node.invoices[-1].payment_hash.hex(), node.paid[-1].payment_hash.hex()
    assert found == {
        (DifferenceCode.INVOICE_AMOUNT_DIFFERS, f"invoice {last_hash}"),
        (DifferenceCode.RECEIVE_ENTRY_DIFFERS, f"entry receive {last_hash}"),
        (DifferenceCode.PAYOUT_AMOUNT_DIFFERS, f"payout {PAYOUTS} ({last_payout})"),
        (DifferenceCode.PAY_OUT_ENTRY_DIFFERS, f"entry pay_out {PAYOUTS}"),
        (DifferenceCode.INVOICE_NOT_SETTLED_AT_NODE, f"invoice {lost.payment_hash.hex()}"),
        (DifferenceCode.NODE_ACCOUNT_DIFFERS, "account node"),
    }


def test_a_thousand_differences_are_kept_at_most(books: Container, node: NodeLists) -> None:
    node.invoices.clear()
    assert len(compared(books, node).differences) > INVOICES
    with books.database.transaction() as tx:
        last = last_reconciled(tx)
    assert last is not None
    assert (last.differences, last.codes) == (1_000, ["invoice_not_settled_at_node"])
