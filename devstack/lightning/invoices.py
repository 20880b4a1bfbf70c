"""The invoices of both nodes: made, found, listed, cancelled, expired, followed."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

import grpc
from coincurve import PrivateKey

from devstack.lightning.database import Database, Transaction
from devstack.lightning.hub import Hub, Subscription
from devstack.lightning.payment_request import Terms, sign
from devstack.lightning.records import Invoice, InvoiceState
from devstack.lightning.refusal import Refused

MAX_MEMO_BYTES = 1024
# A BOLT11 field holds 1,023 groups of five bits.
MAX_DESCRIPTION_BYTES = 639
MAX_EXPIRY_S = 365 * 24 * 3600
DEFAULT_EXPIRY_S = 86_400
DEFAULT_CLTV = 80
MIN_CLTV = 18


@dataclass(frozen=True)
class Wanted:
    """What a caller asks an invoice to be; an empty or zero field stands for lnd's default."""

    value_msat: int
    preimage: bytes
    memo: str
    description_hash: bytes
    expiry_s: int
    cltv_expiry: int
    is_private: bool


@dataclass(frozen=True)
class Page:
    """A slice of a list, as lnd pages: exclusive offset, ascending answers, `reversed` counts from the end."""

    offset: int
    limit: int
    is_reversed: bool
    created_from: int
    created_until: int

    def clause(self, index: str, created: str) -> tuple[str, list[int]]:
        """Return the SQL that ends a WHERE, and its values. Both names come from this package."""
        condition = ""
        values: list[int] = []
        if self.offset:
            condition += f" AND {index} {'<' if self.is_reversed else '>'} ?"
            values.append(self.offset)
        if self.created_from:
            condition += f" AND {created} >= ?"
            values.append(self.created_from)
        if self.created_until:
            condition += f" AND {created} <= ?"
            values.append(self.created_until)
        order = "DESC" if self.is_reversed else "ASC"
        return f"{condition} ORDER BY {index} {order} LIMIT ?", [*values, self.limit]


class Invoices:
    """Every call names the node whose invoice it means."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub

    def add(self, node: str, key: PrivateKey, wanted: Wanted) -> Invoice:
        """Sign and store an invoice. Raises `Refused` for a bad field or a payment hash that exists already."""
        _check(wanted)
        preimage = wanted.preimage or secrets.token_bytes(32)
        terms = Terms(
            payment_hash=hashlib.sha256(preimage).digest(),
            payment_addr=secrets.token_bytes(32),
            amount_msat=wanted.value_msat,
            memo=wanted.memo,
            description_hash=wanted.description_hash,
            created_at=int(time.time()),
            expiry_s=wanted.expiry_s or DEFAULT_EXPIRY_S,
            cltv_expiry=wanted.cltv_expiry or DEFAULT_CLTV,
        )
        signed = sign(terms, key)
        with self._database.transaction() as change:
            if _find(change, node, terms.payment_hash) is not None:
                raise Refused("invoice with payment hash already exists")
            invoice = _store(change, node, preimage, terms, signed, wanted.is_private)
            change.announce(invoice)
        return invoice

    def find(self, node: str, payment_hash: bytes) -> Invoice:
        """Return the invoice. Raises `Refused` NOT_FOUND."""
        with self._database.reading() as books:
            invoice = _find(books, node, payment_hash)
        if invoice is None:
            raise Refused("unable to locate invoice", code=grpc.StatusCode.NOT_FOUND)
        return invoice

    def find_by_address(self, node: str, payment_addr: bytes) -> Invoice:
        """Return the invoice with this payment secret. Raises `Refused` NOT_FOUND."""
        with self._database.reading() as books:
            row = books.row("SELECT * FROM invoices WHERE node = ? AND payment_addr = ?", node, payment_addr)
        if row is None:
            raise Refused("unable to locate invoice", code=grpc.StatusCode.NOT_FOUND)
        return Invoice.of(row)

    def page(self, node: str, page: Page, *, pending_only: bool) -> list[Invoice]:
        """Return one page, by ascending add index."""
        clause, values = page.clause("add_index", "created_at")
        state = " AND state = 'OPEN'" if pending_only else ""
        with self._database.reading() as books:
            rows = books.rows(f"SELECT * FROM invoices WHERE node = ?{state}{clause}", node, *values)  # noqa: S608
        return sorted((Invoice.of(row) for row in rows), key=lambda invoice: invoice.add_index)

    def cancel(self, node: str, payment_hash: bytes) -> None:
        """Cancel an open invoice; a cancelled one stays so. Raises `Refused` when unknown or settled."""
        with self._database.transaction() as change:
            invoice = _find(change, node, payment_hash)
            if invoice is None:
                raise Refused("unable to locate invoice")
            if invoice.is_settled:
                raise Refused("invoice already settled")
            change.run(
                "UPDATE invoices SET state = ? WHERE node = ? AND payment_hash = ?",
                InvoiceState.CANCELED,
                node,
                payment_hash,
            )

    def cancel_expired(self) -> None:
        """Cancel what nobody paid in time, at both nodes. lnd announces no cancellation, and so neither do we."""
        due = "FROM invoices WHERE state = 'OPEN' AND created_at + expiry_s <= ?"
        now = int(time.time())
        with self._database.reading() as books:
            if not books.number(f"SELECT count(*) {due}", now):
                return
        with self._database.transaction() as change:
            change.run(
                "UPDATE invoices SET state = 'CANCELED' WHERE state = 'OPEN' AND created_at + expiry_s <= ?", now
            )

    def follow(self, node: str, *, add_index: int, settle_index: int) -> Subscription:
        """Start a subscription. An index of 0 asks for no backlog; otherwise what came after it is queued first.

        As in lnd, the backlog of additions shows each invoice as it is now, and leaves out cancelled ones.
        """
        subscription = Subscription(node, add_index=add_index, settle_index=settle_index)
        with self._database.reading() as books:
            if add_index:
                rows = books.rows(
                    "SELECT * FROM invoices WHERE node = ? AND add_index > ? AND state <> 'CANCELED' ORDER BY add_index",
                    node,
                    add_index,
                )
                subscription.events.extend(map(Invoice.of, rows))
            if settle_index:
                rows = books.rows(
                    "SELECT * FROM invoices WHERE node = ? AND settle_index > ? ORDER BY settle_index",
                    node,
                    settle_index,
                )
                subscription.events.extend(map(Invoice.of, rows))
            self._hub.attach(subscription)
        return subscription


def settle(change: Transaction, invoice: Invoice, *, amount_msat: int) -> None:
    """Mark `invoice` paid with `amount_msat`, inside the transaction that moves the money."""
    settle_index = change.number(
        "UPDATE nodes SET settle_index = settle_index + 1 WHERE name = ? RETURNING settle_index", invoice.node
    )
    row = change.row(
        "UPDATE invoices SET state = 'SETTLED', settle_index = ?, settled_at = ?, amt_paid_msat = ?"
        " WHERE node = ? AND payment_hash = ? RETURNING *",
        settle_index,
        int(time.time()),
        amount_msat,
        invoice.node,
        invoice.payment_hash,
    )
    if row is None:
        raise LookupError("the invoice vanished from under its own transaction")
    change.announce(Invoice.of(row))


def _find(books: Transaction, node: str, payment_hash: bytes) -> Invoice | None:
    row = books.row("SELECT * FROM invoices WHERE node = ? AND payment_hash = ?", node, payment_hash)
    return None if row is None else Invoice.of(row)


def _store(change: Transaction, node: str, preimage: bytes, terms: Terms, signed: str, is_private: bool) -> Invoice:
    add_index = change.number("UPDATE nodes SET add_index = add_index + 1 WHERE name = ? RETURNING add_index", node)
    row = change.row(
        "INSERT INTO invoices (node, payment_hash, preimage, payment_addr, payment_request, memo, description_hash,"
        " value_msat, created_at, expiry_s, cltv_expiry, is_private, state, add_index)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'OPEN', ?) RETURNING *",
        node,
        terms.payment_hash,
        preimage,
        terms.payment_addr,
        signed,
        terms.memo,
        terms.description_hash,
        terms.amount_msat,
        terms.created_at,
        terms.expiry_s,
        terms.cltv_expiry,
        int(is_private),
        add_index,
    )
    if row is None:
        raise LookupError("the insert returned nothing")
    return Invoice.of(row)


def _check(wanted: Wanted) -> None:
    memo_bytes = len(wanted.memo.encode())
    if memo_bytes > MAX_MEMO_BYTES:
        raise Refused(f"memo too large: {memo_bytes} bytes (maxsize={MAX_MEMO_BYTES})")
    if memo_bytes > MAX_DESCRIPTION_BYTES and not wanted.description_hash:
        raise Refused(f"memo too large: {memo_bytes} bytes (maxsize={MAX_DESCRIPTION_BYTES} in a payment request)")
    if wanted.description_hash and len(wanted.description_hash) != 32:
        raise Refused(f"description hash is {len(wanted.description_hash)} bytes, must be 32")
    if wanted.value_msat < 0:
        raise Refused(f"payments of negative value are not allowed, value is {wanted.value_msat // 1000}")
    if wanted.preimage and len(wanted.preimage) != 32:
        raise Refused(f"invalid preimage length of {len(wanted.preimage)}, want 32")
    if wanted.expiry_s < 0 or wanted.expiry_s > MAX_EXPIRY_S:
        raise Refused(f"expiry of {wanted.expiry_s} seconds greater than max expiry of {MAX_EXPIRY_S} seconds")
    if 0 < wanted.cltv_expiry < MIN_CLTV:
        raise Refused(f"CLTV delta of {wanted.cltv_expiry} must be greater than minimum of {MIN_CLTV}")
