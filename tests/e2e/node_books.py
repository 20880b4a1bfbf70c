"""Both sandbox nodes' own books, read over their REST, beside our ledger: equal to the millisatoshi, payment by payment."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from tests.e2e.ledger_reader import LedgerReader

OPENING_MSAT = 10_000_000_000
_MANY = "100000"

Amount = TypeVar("Amount")


@dataclass(frozen=True)
class NodeBook:
    """One node's account. By payment hash: what settled invoices brought, what payments took as (amount, fee)."""

    balance_msat: int
    in_flight_msat: int
    received: dict[str, int]
    paid: dict[str, tuple[int, int]]

    @property
    def total_msat(self) -> int:
        """What the node has and what is locked in its payments."""
        return self.balance_msat + self.in_flight_msat

    @property
    def expected_msat(self) -> int:
        """What it must have after all that it received and paid."""
        return OPENING_MSAT + sum(self.received.values()) - sum(map(sum, self.paid.values()))


class NodeBooks:
    """Reads both nodes of a running stack. `endpoints` is the stack's map."""

    def __init__(self, endpoints: dict[str, Any]) -> None:
        self._nodes = {name: _client(endpoints[name]) for name in ("lnd", "wallet")}

    def close(self) -> None:
        """Close both connections."""
        for node in self._nodes.values():
            node.close()

    def of(self, name: str) -> NodeBook:
        """Read the book of `lnd` (the merchant) or `wallet` (its customer)."""
        balance = self._get(name, "/v1/balance/channels")
        invoices = self._get(name, "/v1/invoices", num_max_invoices=_MANY)["invoices"]
        payments = self._get(name, "/v1/payments", max_payments=_MANY)["payments"]
        return NodeBook(
            balance_msat=int(balance["local_balance"]["msat"]),
            in_flight_msat=int(balance["unsettled_local_balance"]["msat"]),
            received={_hash_of(i): int(i["amt_paid_msat"]) for i in invoices if i["state"] == "SETTLED"},
            paid={
                p["payment_hash"]: (int(p["value_msat"]), int(p["fee_msat"]))
                for p in payments
                if p["status"] == "SUCCEEDED"
            },
        )

    def require_equal(self, ledger: LedgerReader, *, foreign: Collection[str] = ()) -> None:
        """Fail where ledger, merchant and customer tell different stories. `foreign`: payment hashes that are not the product's."""
        merchant, customer = self.of("lnd"), self.of("wallet")
        assert merchant.total_msat == merchant.expected_msat, "the merchant's own book does not add up"
        assert customer.total_msat == customer.expected_msat, "the customer's own book does not add up"
        received, paid = _ours(merchant.received, foreign), _ours(merchant.paid, foreign)
        assert received == _settled(ledger)
        assert paid == _paid_out(ledger)
        assert received == {found: customer.paid[found][0] for found in received}
        assert {found: amount for found, (amount, _fee) in paid.items()} == {f: customer.received[f] for f in paid}
        booked_msat = sum(received.values()) - sum(map(sum, paid.values()))
        assert ledger.total("node") == booked_msat
        assert ledger.total("routing_fees") == sum(fee for _amount, fee in paid.values())
        assert ledger.total() == 0

    def _get(self, name: str, path: str, **parameters: str) -> dict[str, Any]:
        answer = self._nodes[name].get(path, params=parameters)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _client(node: dict[str, Any]) -> httpx.Client:
    return httpx.Client(
        base_url=node["rest"],
        verify=ssl.create_default_context(cafile=node["tls_cert"]),
        headers={"Grpc-Metadata-macaroon": node["macaroon"]},
        timeout=30,
        limits=httpx.Limits(max_keepalive_connections=0),  # a node may be taken away between two calls
        trust_env=False,
    )


def _hash_of(invoice: dict[str, Any]) -> str:
    return base64.b64decode(invoice["r_hash"]).hex()


def _ours(found: dict[str, Amount], foreign: Collection[str]) -> dict[str, Amount]:
    return {payment_hash: amount for payment_hash, amount in found.items() if payment_hash not in foreign}


def _settled(ledger: LedgerReader) -> dict[str, int]:
    rows = ledger.rows("SELECT encode(payment_hash, 'hex') AS hash, paid_msat FROM invoices WHERE state = 'settled'")
    return {row["hash"]: row["paid_msat"] for row in rows}


def _paid_out(ledger: LedgerReader) -> dict[str, tuple[int, int]]:
    rows = ledger.rows(
        "SELECT encode(payment_hash, 'hex') AS hash, amount_msat, fee_msat FROM payouts WHERE state = 'paid'"
    )
    return {row["hash"]: (row["amount_msat"], row["fee_msat"]) for row in rows}
