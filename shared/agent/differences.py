"""Where our books and the node's differ: each difference with a stable code, and what to do about it. Pure comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from shared.kernel.money import MSAT_PER_SAT
from shared.ledger.statement import PAY_OUT, RECEIVE, Bound, BrokenEntry, Debtor
from shared.lightning.model import NodePayment, NodePaymentState, PayoutState
from shared.lightning.statement import PayoutRow, SettledRow


class DifferenceCode(StrEnum):
    """What differs."""

    INVOICE_NOT_SETTLED_AT_NODE = "invoice_not_settled_at_node"
    INVOICE_AMOUNT_DIFFERS = "invoice_amount_differs"
    INVOICE_INDEX_DIFFERS = "invoice_index_differs"
    INVOICE_NOT_CREDITED = "invoice_not_credited"
    INVOICE_UNKNOWN_HERE = "invoice_unknown_here"
    RECEIVE_ENTRY_MISSING = "receive_entry_missing"
    RECEIVE_ENTRY_DIFFERS = "receive_entry_differs"
    RECEIVE_ENTRY_ALONE = "receive_entry_alone"
    PAYOUT_NOT_PAID_AT_NODE = "payout_not_paid_at_node"
    PAYOUT_AMOUNT_DIFFERS = "payout_amount_differs"
    PAYOUT_PREIMAGE_DIFFERS = "payout_preimage_differs"
    PAYOUT_NOT_BOOKED = "payout_not_booked"
    PAYOUT_FAILED_HERE_ONLY = "payout_failed_here_only"
    PAYOUT_UNKNOWN_AT_NODE = "payout_unknown_at_node"
    PAYOUT_DEBTS_DIFFER = "payout_debts_differ"
    PAYMENT_UNKNOWN_HERE = "payment_unknown_here"
    PAY_OUT_ENTRY_MISSING = "pay_out_entry_missing"
    PAY_OUT_ENTRY_DIFFERS = "pay_out_entry_differs"
    PAY_OUT_ENTRY_ALONE = "pay_out_entry_alone"
    ENTRY_UNBALANCED = "entry_unbalanced"
    DEBTS_DIFFER = "debts_differ"
    NODE_ACCOUNT_DIFFERS = "node_account_differs"


_RESTORE = "stop the workers; compare with a backup; restore the rows, never rewrite them"
_TRACK = "start worker-payout, which asks the node; if this stays, look at the step of the payout (`lucid doctor`)"
REMEDIES: Mapping[DifferenceCode, str] = MappingProxyType(
    {
        DifferenceCode.INVOICE_NOT_SETTLED_AT_NODE: "the row says that money came which the node does not have: "
        + _RESTORE,
        DifferenceCode.INVOICE_AMOUNT_DIFFERS: "believe the node: " + _RESTORE,
        DifferenceCode.INVOICE_INDEX_DIFFERS: "see whether the node was restored from a backup; the amount decides",
        DifferenceCode.INVOICE_NOT_CREDITED: "start the listener and worker-money, which credit it; see their logs if it stays",
        DifferenceCode.INVOICE_UNKNOWN_HERE: (
            "somebody made it with another tool, or its row was lost with a restored database: find the payer, or book it to suspense"
        ),
        DifferenceCode.RECEIVE_ENTRY_MISSING: "a settled invoice without its entry cannot come about by itself: "
        + _RESTORE,
        DifferenceCode.RECEIVE_ENTRY_DIFFERS: "the entry's postings were changed or removed: " + _RESTORE,
        DifferenceCode.RECEIVE_ENTRY_ALONE: "the books credit a payment that no settled invoice has: " + _RESTORE,
        DifferenceCode.PAYOUT_NOT_PAID_AT_NODE: "the payout's preimage proves that it was paid: see whether the node lost its records",
        DifferenceCode.PAYOUT_AMOUNT_DIFFERS: "believe the node: " + _RESTORE,
        DifferenceCode.PAYOUT_PREIMAGE_DIFFERS: _RESTORE,
        DifferenceCode.PAYOUT_NOT_BOOKED: _TRACK,
        DifferenceCode.PAYOUT_FAILED_HERE_ONLY: (
            "the node paid, or may still pay, what counts as failed here, and its debts may be claimed again: stop worker-payout and"
            " look at this payment hash at the node"
        ),
        DifferenceCode.PAYOUT_UNKNOWN_AT_NODE: _TRACK,
        DifferenceCode.PAYOUT_DEBTS_DIFFER: _RESTORE,
        DifferenceCode.PAYMENT_UNKNOWN_HERE: (
            "somebody paid it with another tool, or its row was lost with a restored database: if it was a refund, its debt is paid"
        ),
        DifferenceCode.PAY_OUT_ENTRY_MISSING: "a paid payout without its entry cannot come about by itself: "
        + _RESTORE,
        DifferenceCode.PAY_OUT_ENTRY_DIFFERS: "the entry's postings were changed or removed: " + _RESTORE,
        DifferenceCode.PAY_OUT_ENTRY_ALONE: "the books pay out what no paid payout has: " + _RESTORE,
        DifferenceCode.ENTRY_UNBALANCED: "a posting was changed or removed: " + _RESTORE,
        DifferenceCode.DEBTS_DIFFER: "a debt or a posting was changed or removed: " + _RESTORE,
        DifferenceCode.NODE_ACCOUNT_DIFFERS: "settle the differences above; if there are none, look at entries of other kinds",
    }
)


@dataclass(frozen=True)
class Difference:
    """One difference. `subject` names the row or the payment hash, `detail` both sides."""

    code: DifferenceCode
    subject: str
    detail: str

    @property
    def remedy(self) -> str:
        """What to do."""
        return REMEDIES[self.code]


@dataclass(frozen=True)
class OurBooks:
    """Rows and ledger as of one moment. Entries: millisatoshi at the node's account, by the entry's name."""

    invoices: dict[bytes, SettledRow]
    payouts: dict[bytes, PayoutRow]
    received: dict[str, int]
    paid_out: dict[str, int]
    bound: dict[int, Bound]
    broken: list[BrokenEntry]
    debtors: list[Debtor]
    node_msat: int


@dataclass(frozen=True)
class SettledAtNode:
    """A settled invoice as the node has it."""

    paid_msat: int
    settle_index: int


@dataclass(frozen=True)
class NodeBooks:
    """What the node says, a moment later: settled invoices and all payments, by payment hash.

    Left out is what is under way: ours have not had the time to follow.
    """

    invoices: dict[bytes, SettledAtNode]
    payments: dict[bytes, NodePayment]

    @property
    def net_msat(self) -> int:
        """What came in less what went out, fees included."""
        paid = [said for said in self.payments.values() if said.state is NodePaymentState.SUCCEEDED]
        received_msat = sum(said.paid_msat for said in self.invoices.values())
        return received_msat - sum(said.amount_msat + said.fee_msat for said in paid)


def compare(
    ours: OurBooks, node: NodeBooks, *, known: frozenset[bytes], under_way: frozenset[bytes] = frozenset()
) -> list[Difference]:
    """Return every difference.

    `known`: payment hashes of our invoices that are not settled here. `under_way`: what `node` leaves out.
    """
    found = [
        *_invoices(ours, node, known),
        *_receive_entries(ours),
        *_payouts(ours, node, under_way),
        *_pay_out_entries(ours),
        *_debts(ours),
        *_entries(ours),
    ]
    if ours.node_msat != node.net_msat:
        detail = f"the account says {ours.node_msat} msat, the node's own list {node.net_msat} msat"
        found.append(Difference(DifferenceCode.NODE_ACCOUNT_DIFFERS, "account node", detail))
    return found


def _invoices(ours: OurBooks, node: NodeBooks, known: frozenset[bytes]) -> Iterator[Difference]:
    for payment_hash, row in ours.invoices.items():
        said, subject = node.invoices.get(payment_hash), f"invoice {payment_hash.hex()}"
        if said is None:
            detail = f"settled here with {row.paid_msat} msat, and not at the node"
            yield Difference(DifferenceCode.INVOICE_NOT_SETTLED_AT_NODE, subject, detail)
            continue
        if said.paid_msat != row.paid_msat:
            detail = f"{row.paid_msat} msat here, {said.paid_msat} msat at the node"
            yield Difference(DifferenceCode.INVOICE_AMOUNT_DIFFERS, subject, detail)
        if said.settle_index != row.settle_index:
            detail = f"settle index {row.settle_index} here, {said.settle_index} at the node"
            yield Difference(DifferenceCode.INVOICE_INDEX_DIFFERS, subject, detail)
    for payment_hash, said in node.invoices.items():
        if payment_hash not in ours.invoices:
            is_known = payment_hash in known
            code = DifferenceCode.INVOICE_NOT_CREDITED if is_known else DifferenceCode.INVOICE_UNKNOWN_HERE
            detail = f"the node has {said.paid_msat} msat for it; here it is {'not settled' if is_known else 'unknown'}"
            yield Difference(code, f"invoice {payment_hash.hex()}", detail)


def _receive_entries(ours: OurBooks) -> Iterator[Difference]:
    settled = {row.payment_hash.hex(): row.paid_msat for row in ours.invoices.values()}
    codes = (
        DifferenceCode.RECEIVE_ENTRY_MISSING,
        DifferenceCode.RECEIVE_ENTRY_DIFFERS,
        DifferenceCode.RECEIVE_ENTRY_ALONE,
    )
    return _entries_of(RECEIVE, ours.received, settled, codes=codes)


def _pay_out_entries(ours: OurBooks) -> Iterator[Difference]:
    paid = {
        str(row.id): -(row.amount_msat + (row.fee_msat or 0))
        for row in ours.payouts.values()
        if row.state is PayoutState.PAID
    }
    codes = (
        DifferenceCode.PAY_OUT_ENTRY_MISSING,
        DifferenceCode.PAY_OUT_ENTRY_DIFFERS,
        DifferenceCode.PAY_OUT_ENTRY_ALONE,
    )
    return _entries_of(PAY_OUT, ours.paid_out, paid, codes=codes)


def _entries_of(
    kind: str,
    booked: Mapping[str, int],
    moved: Mapping[str, int],
    *,
    codes: tuple[DifferenceCode, DifferenceCode, DifferenceCode],
) -> Iterator[Difference]:
    """Compare what the rows moved with what the entries say, by name: missing, different, alone."""
    missing, differs, alone = codes
    for ref, moved_msat in moved.items():
        if ref not in booked:
            yield Difference(missing, f"entry {kind} {ref}", f"{moved_msat} msat moved, and nothing is booked")
        elif booked[ref] != moved_msat:
            yield Difference(differs, f"entry {kind} {ref}", f"{moved_msat} msat moved, {booked[ref]} msat are booked")
    for ref, booked_msat in booked.items():
        if ref not in moved:
            yield Difference(alone, f"entry {kind} {ref}", f"{booked_msat} msat are booked for it")


def payouts_behind(ours: OurBooks, payments: Mapping[bytes, NodePayment]) -> Iterator[bytes]:
    """Yield the payment hashes where we may only not have followed the node yet, or the node not us."""
    follows = (DifferenceCode.PAYOUT_NOT_BOOKED, DifferenceCode.PAYOUT_UNKNOWN_AT_NODE)
    for payment_hash, row in ours.payouts.items():
        if any(found.code in follows for found in _payout(row, payments.get(payment_hash))):
            yield payment_hash
    for payment_hash, said in payments.items():
        if payment_hash not in ours.payouts and said.state is not NodePaymentState.FAILED:
            yield payment_hash


def _payouts(ours: OurBooks, node: NodeBooks, under_way: frozenset[bytes]) -> Iterator[Difference]:
    for payment_hash, row in ours.payouts.items():
        if payment_hash not in under_way:
            yield from _payout(row, node.payments.get(payment_hash))
    for payment_hash, said in node.payments.items():
        if payment_hash not in ours.payouts and said.state is not NodePaymentState.FAILED:
            detail = f"the node says {said.state} for {said.amount_msat} msat, and no payout has this hash"
            yield Difference(DifferenceCode.PAYMENT_UNKNOWN_HERE, f"payment {payment_hash.hex()}", detail)


def _payout(row: PayoutRow, said: NodePayment | None) -> Iterator[Difference]:
    subject = f"payout {row.id} ({row.payment_hash.hex()})"
    at_node = "does not know it" if said is None else f"says {said.state}"
    match row.state:
        case PayoutState.PAID if said is None or said.state is not NodePaymentState.SUCCEEDED:
            yield Difference(DifferenceCode.PAYOUT_NOT_PAID_AT_NODE, subject, f"paid here; the node {at_node}")
        case PayoutState.PAID if said is not None:
            yield from _paid(row, said, subject)
        case PayoutState.FAILED if said is not None and said.state is not NodePaymentState.FAILED:
            yield Difference(DifferenceCode.PAYOUT_FAILED_HERE_ONLY, subject, f"failed here; the node {at_node}")
        case PayoutState.SENDING | PayoutState.UNKNOWN if said is None:
            yield Difference(DifferenceCode.PAYOUT_UNKNOWN_AT_NODE, subject, f"{row.state} here; the node {at_node}")
        case PayoutState.INTENDED | PayoutState.SENDING | PayoutState.UNKNOWN if (
            said is not None and said.state is NodePaymentState.SUCCEEDED
        ):
            yield Difference(DifferenceCode.PAYOUT_NOT_BOOKED, subject, f"{row.state} here; the node {at_node}")
        case _:
            pass


def _paid(row: PayoutRow, said: NodePayment, subject: str) -> Iterator[Difference]:
    if (row.amount_msat, row.fee_msat) != (said.amount_msat, said.fee_msat):
        detail = f"{row.amount_msat} msat and a fee of {row.fee_msat} here, {said.amount_msat} and {said.fee_msat} at the node"
        yield Difference(DifferenceCode.PAYOUT_AMOUNT_DIFFERS, subject, detail)
    if row.preimage != said.preimage:
        yield Difference(DifferenceCode.PAYOUT_PREIMAGE_DIFFERS, subject, "another preimage here than at the node")


def _debts(ours: OurBooks) -> Iterator[Difference]:
    for row in ours.payouts.values():
        bound = ours.bound.get(row.id, Bound())
        match row.state:
            case PayoutState.PAID:
                is_right = bound.open_msat == 0 and _whole(bound.paid_msat) == row.amount_msat
            case PayoutState.FAILED:
                is_right = bound == Bound()
            case _:
                is_right = bound.paid_msat == 0 and _whole(bound.open_msat) == row.amount_msat
        if not is_right:
            detail = (
                f"{row.state}, {row.amount_msat} msat; bound debts: {bound.open_msat} msat open, {bound.paid_msat} paid"
            )
            yield Difference(DifferenceCode.PAYOUT_DEBTS_DIFFER, f"payout {row.id}", detail)
    for debtor in ours.debtors:
        detail = f"open debts of {debtor.owed_msat} msat, debts payable {debtor.payable_msat} msat"
        yield Difference(DifferenceCode.DEBTS_DIFFER, f"{debtor.owner.kind} {debtor.owner.id}", detail)


def _entries(ours: OurBooks) -> Iterator[Difference]:
    for entry in ours.broken:
        detail = "has no postings" if entry.is_empty else f"its postings sum to {entry.total_msat} msat instead of 0"
        yield Difference(DifferenceCode.ENTRY_UNBALANCED, f"entry {entry.kind} {entry.ref}", detail)


def _whole(amount_msat: int) -> int:
    return amount_msat // MSAT_PER_SAT * MSAT_PER_SAT
