"""Payments between the two nodes: the money moves, and the record of it, in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial

import grpc

from devstack.lightning.database import ROUTERS, Database, Transaction
from devstack.lightning.invoices import Page, settle
from devstack.lightning.payment_request import PaymentRequest, read
from devstack.lightning.records import FailureReason, Invoice, InvoiceState, Payment, PaymentStatus
from devstack.lightning.refusal import Refused

NO_LIMIT = 2**62


class Course(Enum):
    """How far a payment gets on its own."""

    SETTLES = auto()
    STAYS_IN_FLIGHT = auto()
    STAYS_INITIATED = auto()
    FAILS = auto()


@dataclass(frozen=True)
class Order:
    """A payment somebody wants made: `amount_msat` to the payee, at most `fee_limit_msat` on top."""

    node: str
    request: PaymentRequest
    amount_msat: int
    fee_limit_msat: int
    course: Course = Course.SETTLES
    reason: FailureReason = FailureReason.NONE


class Payments:
    """Every call names the node that pays. `pubkeys` maps a public key (hex) to the node that owns it."""

    def __init__(self, database: Database, pubkeys: dict[str, str]) -> None:
        self._database = database
        self._pubkeys = pubkeys

    def send(self, order: Order) -> Payment:
        """Carry out `order` and return its record. Raises `Refused` ALREADY_EXISTS, with lnd's text, unless FAILED.

        A failure (no route, no money, a payee who says no) is a recorded outcome, not an exception.
        """
        with self._database.transaction() as change:
            _refuse_repeat(change, order)
            fee_msat = routing_fee(change, order.amount_msat)
            payment = _record(change, order, fee_msat)
            reason = self._obstacle(change, order, fee_msat)
            if reason is not FailureReason.NONE:
                return _fail(change, payment, reason)
            if order.course is Course.STAYS_INITIATED:
                return payment
            payment = _hold(change, payment)
            if order.course is Course.STAYS_IN_FLIGHT:
                return payment
            invoice = self._payable(change, payment, order.request)
            if invoice is None:
                return _fail(change, payment, FailureReason.INCORRECT_PAYMENT_DETAILS)
            return _deliver(change, payment, invoice)

    def find(self, node: str, payment_hash: bytes) -> Payment:
        """Return the payment. Raises `Refused` NOT_FOUND."""
        with self._database.reading() as books:
            payment = _find(books, node, payment_hash)
        if payment is None:
            raise Refused("payment isn't initiated", code=grpc.StatusCode.NOT_FOUND)
        return payment

    def page(self, node: str, page: Page, *, include_incomplete: bool) -> list[Payment]:
        """Return one page, by ascending payment index."""
        clause, values = page.clause("payment_index", "created_ns / 1000000000")
        status = "" if include_incomplete else " AND status = 2"
        with self._database.reading() as books:
            rows = books.rows(f"SELECT * FROM payments WHERE node = ?{status}{clause}", node, *values)  # noqa: S608
        return sorted((Payment.of(row) for row in rows), key=lambda payment: payment.payment_index)

    def count(self, node: str) -> int:
        """Return how many payments the node has on record, whatever became of them."""
        with self._database.reading() as books:
            return books.number("SELECT count(*) FROM payments WHERE node = ?", node)

    def release(self, payment_hash: bytes, reason: FailureReason = FailureReason.NONE) -> Payment:
        """End a payment that is initiated or in flight: with `reason` it fails, with NONE it arrives.

        It arrives even if the invoice has expired meanwhile, as an HTLC does that was accepted in time.
        """
        with self._database.transaction() as change:
            payment = _unfinished(change, payment_hash)
            if reason is not FailureReason.NONE:
                return _fail(change, payment, reason)
            if payment.status is PaymentStatus.INITIATED:
                if _balance(change, payment.node) < payment.value_msat + payment.fee_msat:
                    return _fail(change, payment, FailureReason.INSUFFICIENT_BALANCE)
                payment = _hold(change, payment)
            invoice = self._addressed(change, read(payment.payment_request))
            if invoice is None or invoice.is_settled:
                return _fail(change, payment, FailureReason.INCORRECT_PAYMENT_DETAILS)
            return _deliver(change, payment, invoice)

    def settle_late(self, payment_hash: bytes, amount_msat: int = 0) -> Payment:
        """Settle an invoice that was cancelled or has expired; `amount_msat` 0 means what it asks for."""
        with self._database.transaction() as change:
            row = change.row("SELECT * FROM invoices WHERE payment_hash = ?", payment_hash)
            if row is None:
                raise Refused("unable to locate invoice", code=grpc.StatusCode.NOT_FOUND)
            invoice = Invoice.of(row)
            if invoice.is_settled:
                raise Refused("invoice already settled")
            amount_msat = amount_msat or invoice.value_msat
            if amount_msat <= 0:
                raise Refused("the invoice names no amount: amount_msat is needed")
            order = Order(self._other(invoice.node), read(invoice.payment_request), amount_msat, NO_LIMIT)
            _refuse_repeat(change, order)
            payment = _record(change, order, 0)
            if _balance(change, order.node) < amount_msat:
                raise Refused("insufficient balance")
            return _deliver(change, _hold(change, payment), invoice)

    def overpay(self, text: str, amount_msat: int) -> Payment:
        """Pay `amount_msat` for an invoice that asks for less."""
        request = read(text)
        if amount_msat < max(request.amount_msat, 1):
            raise Refused(f"amount_msat must be at least {max(request.amount_msat, 1)}")
        payee = self._pubkeys.get(request.payee)
        if payee is None:
            raise Refused("neither node issued this payment request")
        return self.send(Order(self._other(payee), request, amount_msat, NO_LIMIT))

    def _other(self, node: str) -> str:
        return next(name for name in self._pubkeys.values() if name != node)

    def _obstacle(self, books: Transaction, order: Order, fee_msat: int) -> FailureReason:
        if order.course is Course.FAILS:
            return order.reason
        if _balance(books, order.node) < order.amount_msat + fee_msat:
            return FailureReason.INSUFFICIENT_BALANCE
        payee = self._pubkeys.get(order.request.payee)
        if payee is None or payee == order.node or fee_msat > order.fee_limit_msat:
            return FailureReason.NO_ROUTE
        return FailureReason.NONE

    def _addressed(self, books: Transaction, request: PaymentRequest) -> Invoice | None:
        row = books.row(
            "SELECT * FROM invoices WHERE node = ? AND payment_hash = ? AND payment_addr = ?",
            self._pubkeys.get(request.payee, ""),
            request.payment_hash,
            request.payment_addr,
        )
        return None if row is None else Invoice.of(row)

    def _payable(self, books: Transaction, payment: Payment, request: PaymentRequest) -> Invoice | None:
        invoice = self._addressed(books, request)
        if invoice is None or invoice.state != InvoiceState.OPEN or payment.value_msat < invoice.value_msat:
            return None
        return invoice


class Fees:
    """What routers take for a payment between the nodes: a base and parts per million, 0 unless set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, *, base_msat: int, ppm: int) -> None:
        """Keep new fees. Raises `Refused` for a negative one."""
        if base_msat < 0 or ppm < 0:
            raise Refused("fees can't be negative")
        with self._database.transaction() as change:
            put = partial(change.run, "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)")
            put("fee_base_msat", base_msat)
            put("fee_ppm", ppm)


def routing_fee(books: Transaction, amount_msat: int) -> int:
    """Return what routers take for `amount_msat`, in msat, rounded up."""
    ask = "SELECT value FROM settings WHERE name = ?"
    return books.number(ask, "fee_base_msat") + -(-amount_msat * books.number(ask, "fee_ppm") // 1_000_000)


def _find(books: Transaction, node: str, payment_hash: bytes) -> Payment | None:
    row = books.row("SELECT * FROM payments WHERE node = ? AND payment_hash = ?", node, payment_hash)
    return None if row is None else Payment.of(row)


def _unfinished(books: Transaction, payment_hash: bytes) -> Payment:
    row = books.row("SELECT * FROM payments WHERE payment_hash = ? AND status IN (1, 4)", payment_hash)
    if row is None:
        raise Refused("no payment of this hash is in flight", code=grpc.StatusCode.NOT_FOUND)
    return Payment.of(row)


def _refuse_repeat(books: Transaction, order: Order) -> None:
    earlier = _find(books, order.node, order.request.payment_hash)
    if earlier is None or earlier.status is PaymentStatus.FAILED:
        return
    text = {
        PaymentStatus.INITIATED: "payment already exists",
        PaymentStatus.IN_FLIGHT: "payment is in transition",
        PaymentStatus.SUCCEEDED: "invoice is already paid",
    }[earlier.status]
    raise Refused(text, code=grpc.StatusCode.ALREADY_EXISTS)


def _record(change: Transaction, order: Order, fee_msat: int) -> Payment:
    change.run(
        "DELETE FROM payments WHERE node = ? AND payment_hash = ? AND status = 3",
        order.node,
        order.request.payment_hash,
    )
    index = change.number(
        "UPDATE nodes SET payment_index = payment_index + 1 WHERE name = ? RETURNING payment_index", order.node
    )
    payment = Payment(
        node=order.node,
        payment_hash=order.request.payment_hash,
        payment_index=index,
        payment_request=order.request.text,
        payee=order.request.payee,
        value_msat=order.amount_msat,
        fee_msat=fee_msat,
        held_msat=0,
        status=PaymentStatus.INITIATED,
        failure_reason=FailureReason.NONE,
        preimage=b"",
        created_ns=time.time_ns(),
        resolved_ns=0,
    )
    change.run(
        "INSERT INTO payments (node, payment_hash, payment_index, payment_request, payee, value_msat, fee_msat, status,"
        " created_ns) VALUES (?, ?, ?, ?, ?, ?, ?, 4, ?)",
        payment.node,
        payment.payment_hash,
        payment.payment_index,
        payment.payment_request,
        payment.payee,
        payment.value_msat,
        payment.fee_msat,
        payment.created_ns,
    )
    return payment


def _hold(change: Transaction, payment: Payment) -> Payment:
    held = payment.value_msat + payment.fee_msat
    _move(change, payment.node, -held)
    return _update(change, replace(payment, status=PaymentStatus.IN_FLIGHT, held_msat=held))


def _deliver(change: Transaction, payment: Payment, invoice: Invoice) -> Payment:
    _move(change, invoice.node, payment.value_msat)
    _move(change, ROUTERS, payment.fee_msat)
    settle(change, invoice, amount_msat=payment.value_msat)
    paid = replace(
        payment,
        status=PaymentStatus.SUCCEEDED,
        held_msat=0,
        preimage=invoice.preimage,
        resolved_ns=time.time_ns(),
    )
    return _update(change, paid)


def _fail(change: Transaction, payment: Payment, reason: FailureReason) -> Payment:
    if payment.held_msat:
        _move(change, payment.node, payment.held_msat)
    failed = replace(
        payment,
        status=PaymentStatus.FAILED,
        failure_reason=reason,
        held_msat=0,
        resolved_ns=time.time_ns(),
    )
    return _update(change, failed)


def _update(change: Transaction, payment: Payment) -> Payment:
    change.run(
        "UPDATE payments SET status = ?, failure_reason = ?, held_msat = ?, preimage = ?, resolved_ns = ?"
        " WHERE node = ? AND payment_hash = ?",
        payment.status,
        payment.failure_reason,
        payment.held_msat,
        payment.preimage,
        payment.resolved_ns,
        payment.node,
        payment.payment_hash,
    )
    return payment


def _move(change: Transaction, account: str, amount_msat: int) -> None:
    change.run("UPDATE accounts SET balance_msat = balance_msat + ? WHERE name = ?", amount_msat, account)


def _balance(books: Transaction, account: str) -> int:
    return books.number("SELECT balance_msat FROM accounts WHERE name = ?", account)
