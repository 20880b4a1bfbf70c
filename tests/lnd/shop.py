"""Buying and claiming back through the product, with a real lnd on either side."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import httpx

from cli.sandbox import Wallet
from devstack.supervisor import Stack
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.patience import eventually
from tests.lnd.regtest import Nodes

ENDED = ("rejected", "complete", "failed")


@dataclass(frozen=True)
class Shop:
    """One stack on a real node."""

    stack: Stack
    api: httpx.Client
    wallet: Wallet
    ledger: LedgerReader
    nodes: Nodes

    def order(self) -> dict[str, Any]:
        """Create a job; return the answer."""
        answer = self.api.post("/api/jobs", json={"request": "Say something short."})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def reach(self, job_id: str, *states: str) -> dict[str, Any]:
        """Look until the job is in one of `states`."""

        def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.api.get(f"/api/jobs/{job_id}").json()
            assert shown["state"] in states or shown["state"] not in ENDED, shown
            return shown if shown["state"] in states else None

        return eventually(look, what=f"a job that is {' or '.join(states)}", within_s=60)

    def bought(self) -> tuple[str, int]:
        """Buy a job that leaves something to claim; return its id and what it is owed in sats."""
        created = self.order()
        self.wallet.pay(created["evalInvoice"]["paymentRequest"])
        accepted = self.reach(created["jobId"], "awaiting_work_payment")
        self.wallet.pay(accepted["workInvoice"]["paymentRequest"])
        done = self.reach(created["jobId"], "complete")
        return created["jobId"], int(done["costLedger"]["refundAmountSats"])

    def claim(self, job_id: str, invoice: str) -> httpx.Response:
        """Claim what the job is owed."""
        return self.api.post(f"/api/jobs/{job_id}/refund", json={"invoice": invoice})

    def until_paid(self, job_id: str, invoice: str) -> None:
        """Claim with the same invoice until it is paid."""
        eventually(lambda: self.claim(job_id, invoice).json().get("ok"), what="a refund that is paid", within_s=120)

    def require_true_books(self) -> None:
        """Every invoice and payment of the product stands in the merchant's lnd with the same amounts."""
        assert self.ledger.unbalanced_entries() == []
        invoices = self.nodes.merchant.get("/v1/invoices", num_max_invoices="10000")["invoices"]
        settled = {
            base64.b64decode(invoice["r_hash"]).hex(): int(invoice["amt_paid_msat"])
            for invoice in invoices
            if invoice["state"] == "SETTLED"
        }
        ours = self.ledger.rows(
            "SELECT encode(payment_hash, 'hex') AS hash, paid_msat FROM invoices WHERE state = 'settled'"
        )
        assert {row["hash"]: row["paid_msat"] for row in ours}.items() <= settled.items()
        payments = self.nodes.merchant.get("/v1/payments", max_payments="10000")["payments"]
        paid = {
            payment["payment_hash"]: (int(payment["value_msat"]), int(payment["fee_msat"]))
            for payment in payments
            if payment["status"] == "SUCCEEDED"
        }
        payouts = self.ledger.rows(
            "SELECT encode(payment_hash, 'hex') AS hash, amount_msat, fee_msat FROM payouts WHERE state = 'paid'"
        )
        assert {row["hash"]: (row["amount_msat"], row["fee_msat"]) for row in payouts}.items() <= paid.items()
        booked = sum(row["paid_msat"] for row in ours) - sum(row["amount_msat"] + row["fee_msat"] for row in payouts)
        assert self.ledger.total("node") == booked
