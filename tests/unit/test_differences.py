"""The comparison of our books with the node's, without either: a true pair, and what each single lie is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from shared.agent.differences import REMEDIES, DifferenceCode, NodeBooks, OurBooks, SettledAtNode, compare
from shared.kernel.owner import Owner
from shared.ledger.statement import Bound, BrokenEntry, Debtor
from shared.lightning.model import NodePayment, NodePaymentState, PayoutState
from shared.lightning.statement import PayoutRow, SettledRow

AT = datetime(2026, 11, 22, tzinfo=UTC)
PREIMAGE = b"p" * 32
FIRST, SECOND, FOREIGN, OPEN, REFUSED = (bytes([number]) * 32 for number in range(1, 6))
REFUND = sha256(PREIMAGE).digest()


def payout(number: int, payment_hash: bytes, state: PayoutState) -> PayoutRow:
    is_paid = state is PayoutState.PAID
    return PayoutRow(number, payment_hash, state, 21_000, 300 if is_paid else None, PREIMAGE if is_paid else None, AT)


def payment(payment_hash: bytes, state: NodePaymentState) -> NodePayment:
    is_paid = state is NodePaymentState.SUCCEEDED
    return NodePayment(payment_hash, state, 21_000, 300 if is_paid else 0, PREIMAGE if is_paid else None, "", AT, AT)


@pytest.fixture
def ours() -> OurBooks:
    """Two settled invoices; a paid payout, one under way, one that failed."""
    return OurBooks(
        invoices={FIRST: SettledRow(FIRST, 10_000, 1), SECOND: SettledRow(SECOND, 29_500, 2)},
        payouts={
            REFUND: payout(1, REFUND, PayoutState.PAID),
            OPEN: payout(2, OPEN, PayoutState.UNKNOWN),
            REFUSED: payout(3, REFUSED, PayoutState.FAILED),
        },
        received={FIRST.hex(): 10_000, SECOND.hex(): 29_500},
        paid_out={"1": -21_300},
        bound={1: Bound(paid_msat=21_400), 2: Bound(open_msat=21_000)},
        broken=[],
        debtors=[],
        node_msat=18_200,
    )


@pytest.fixture
def node() -> NodeBooks:
    return NodeBooks(
        invoices={FIRST: SettledAtNode(10_000, 1), SECOND: SettledAtNode(29_500, 2)},
        payments={
            REFUND: payment(REFUND, NodePaymentState.SUCCEEDED),
            OPEN: payment(OPEN, NodePaymentState.IN_FLIGHT),
            REFUSED: payment(REFUSED, NodePaymentState.FAILED),
        },
    )


def codes(ours: OurBooks, node: NodeBooks, **more: frozenset[bytes]) -> list[DifferenceCode]:
    found = compare(ours, node, known=more.get("known", frozenset()), under_way=more.get("under_way", frozenset()))
    assert all(difference.remedy and difference.subject and difference.detail for difference in found)
    return [difference.code for difference in found]


def test_true_books_have_no_difference(ours: OurBooks, node: NodeBooks) -> None:
    assert codes(ours, node) == []
    never_sent = replace(ours, payouts=ours.payouts | {OPEN: payout(2, OPEN, PayoutState.INTENDED)})
    assert codes(never_sent, replace(node, payments={REFUND: node.payments[REFUND]})) == []


def test_every_code_says_what_to_do() -> None:
    assert set(REMEDIES) == set(DifferenceCode)


def without(ours: OurBooks, table: str, name: object) -> OurBooks:
    kept = {key: value for key, value in getattr(ours, table).items() if key != name}
    return replace(ours, **{table: kept})


LIES_OF_OURS: dict[str, tuple[Callable[[OurBooks], OurBooks], list[DifferenceCode]]] = {
    "an invoice settled here alone": (
        lambda ours: replace(
            ours,
            invoices=ours.invoices | {FOREIGN: SettledRow(FOREIGN, 5_000, 3)},
            received=ours.received | {FOREIGN.hex(): 5_000},
            node_msat=ours.node_msat + 5_000,
        ),
        [DifferenceCode.INVOICE_NOT_SETTLED_AT_NODE, DifferenceCode.NODE_ACCOUNT_DIFFERS],
    ),
    "an invoice marked settled without money": (
        lambda ours: replace(ours, invoices=ours.invoices | {FOREIGN: SettledRow(FOREIGN, 5_000, 3)}),
        [DifferenceCode.INVOICE_NOT_SETTLED_AT_NODE, DifferenceCode.RECEIVE_ENTRY_MISSING],
    ),
    "another amount": (
        lambda ours: replace(ours, invoices=ours.invoices | {FIRST: SettledRow(FIRST, 10_001, 1)}),
        [DifferenceCode.INVOICE_AMOUNT_DIFFERS, DifferenceCode.RECEIVE_ENTRY_DIFFERS],
    ),
    "another index": (
        lambda ours: replace(ours, invoices=ours.invoices | {FIRST: SettledRow(FIRST, 10_000, 7)}),
        [DifferenceCode.INVOICE_INDEX_DIFFERS],
    ),
    "an invoice removed": (
        lambda ours: without(ours, "invoices", FIRST),
        [DifferenceCode.INVOICE_UNKNOWN_HERE, DifferenceCode.RECEIVE_ENTRY_ALONE],
    ),
    "an entry removed": (
        lambda ours: replace(without(ours, "received", SECOND.hex()), node_msat=ours.node_msat - 29_500),
        [DifferenceCode.RECEIVE_ENTRY_MISSING, DifferenceCode.NODE_ACCOUNT_DIFFERS],
    ),
    "a posting removed": (
        lambda ours: replace(ours, broken=[BrokenEntry("receive", FIRST.hex(), 10_000, is_empty=False)]),
        [DifferenceCode.ENTRY_UNBALANCED],
    ),
    "a payout removed": (
        lambda ours: without(ours, "payouts", REFUND),
        [DifferenceCode.PAYMENT_UNKNOWN_HERE, DifferenceCode.PAY_OUT_ENTRY_ALONE],
    ),
    "a payout marked failed": (
        lambda ours: replace(ours, payouts=ours.payouts | {REFUND: payout(1, REFUND, PayoutState.FAILED)}),
        [
            DifferenceCode.PAYOUT_FAILED_HERE_ONLY,
            DifferenceCode.PAY_OUT_ENTRY_ALONE,
            DifferenceCode.PAYOUT_DEBTS_DIFFER,
        ],
    ),
    "a payout marked paid": (
        lambda ours: replace(ours, payouts=ours.payouts | {REFUSED: payout(3, REFUSED, PayoutState.PAID)}),
        [
            DifferenceCode.PAY_OUT_ENTRY_MISSING,
            DifferenceCode.PAYOUT_NOT_PAID_AT_NODE,
            DifferenceCode.PAYOUT_DEBTS_DIFFER,
        ],
    ),
    "another fee": (
        lambda ours: replace(ours, payouts=ours.payouts | {REFUND: replace(ours.payouts[REFUND], fee_msat=0)}),
        [DifferenceCode.PAYOUT_AMOUNT_DIFFERS, DifferenceCode.PAY_OUT_ENTRY_DIFFERS],
    ),
    "another preimage": (
        lambda ours: replace(ours, payouts=ours.payouts | {REFUND: replace(ours.payouts[REFUND], preimage=b"q" * 32)}),
        [DifferenceCode.PAYOUT_PREIMAGE_DIFFERS],
    ),
    "a debt unbound": (lambda ours: without(ours, "bound", 2), [DifferenceCode.PAYOUT_DEBTS_DIFFER]),
    "a debt paid twice": (
        lambda ours: replace(ours, bound=ours.bound | {2: Bound(open_msat=20_000, paid_msat=1_000)}),
        [DifferenceCode.PAYOUT_DEBTS_DIFFER],
    ),
    "a debt changed": (
        lambda ours: replace(ours, debtors=[Debtor(Owner("job", 1), 21_000, 20_000)]),
        [DifferenceCode.DEBTS_DIFFER],
    ),
    "an entry of another kind at the node's account": (
        lambda ours: replace(ours, node_msat=ours.node_msat + 1),
        [DifferenceCode.NODE_ACCOUNT_DIFFERS],
    ),
}


@pytest.mark.parametrize(("lie", "found"), LIES_OF_OURS.values(), ids=LIES_OF_OURS.keys())
def test_a_lie_in_our_books_is_named(
    ours: OurBooks, node: NodeBooks, lie: Callable[[OurBooks], OurBooks], found: list[DifferenceCode]
) -> None:
    assert sorted(codes(lie(ours), node)) == sorted(found)


def test_money_at_the_node_that_we_have_not_credited_is_named(ours: OurBooks, node: NodeBooks) -> None:
    more = replace(node, invoices=node.invoices | {FOREIGN: SettledAtNode(5_000, 3)})
    assert codes(ours, more) == [DifferenceCode.INVOICE_UNKNOWN_HERE, DifferenceCode.NODE_ACCOUNT_DIFFERS]
    assert codes(ours, more, known=frozenset({FOREIGN})) == [
        DifferenceCode.INVOICE_NOT_CREDITED,
        DifferenceCode.NODE_ACCOUNT_DIFFERS,
    ]


def test_a_payment_at_the_node_that_nobody_here_made_is_named_unless_it_failed(ours: OurBooks, node: NodeBooks) -> None:
    for state, found in (
        (NodePaymentState.FAILED, []),
        (NodePaymentState.IN_FLIGHT, [DifferenceCode.PAYMENT_UNKNOWN_HERE]),
        (NodePaymentState.SUCCEEDED, [DifferenceCode.PAYMENT_UNKNOWN_HERE, DifferenceCode.NODE_ACCOUNT_DIFFERS]),
    ):
        assert codes(ours, replace(node, payments=node.payments | {FOREIGN: payment(FOREIGN, state)})) == found


def test_a_payout_that_the_node_has_settled_otherwise_is_named(ours: OurBooks, node: NodeBooks) -> None:
    paid = replace(node, payments=node.payments | {OPEN: payment(OPEN, NodePaymentState.SUCCEEDED)})
    assert codes(ours, paid) == [DifferenceCode.PAYOUT_NOT_BOOKED, DifferenceCode.NODE_ACCOUNT_DIFFERS]
    lost = replace(node, payments={name: said for name, said in node.payments.items() if name != OPEN})
    assert codes(ours, lost) == [DifferenceCode.PAYOUT_UNKNOWN_AT_NODE]
    forgotten = replace(node, payments={name: said for name, said in node.payments.items() if name != REFUND})
    assert codes(ours, forgotten) == [DifferenceCode.PAYOUT_NOT_PAID_AT_NODE, DifferenceCode.NODE_ACCOUNT_DIFFERS]


def test_what_is_under_way_is_no_difference(ours: OurBooks, node: NodeBooks) -> None:
    lost = replace(node, payments={name: said for name, said in node.payments.items() if name != OPEN})
    assert codes(ours, lost, under_way=frozenset({OPEN})) == []
