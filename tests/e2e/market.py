"""A running stack with a customer in front of it and a tester's hands inside: what the tests of the paid job act through."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.sandbox import Wallet
from devstack.supervisor import Stack
from tests.e2e.ledger_reader import Book, LedgerReader
from tests.e2e.lightning_hand import LightningHand
from tests.e2e.model_hand import ModelHand
from tests.e2e.patience import eventually

PROCESSES = (
    "web",
    "relay",
    "worker-money",
    "worker-llm",
    "worker-inference",
    "worker-verification",
    "worker-payout",
    "worker-anchor",
    "worker-tick",
    "invoices",
    "beat",
)
ENDED = ("rejected", "complete", "failed")
EVAL_MSAT = 10_000

QUICK = {
    "EPOCH_MAX_AGE_S": "1",
    "LEASE_S": "3",
    "RESCUE_AFTER_S": "2",
    "LLM_FIRST_TOKEN_S": "2",
    "LLM_DEADLINE_S": "6",
    "INVOICE_WAIT_S": "6",
    "PAYOUT_WAIT_S": "3",
    "MAX_UNPAID_INVOICES": "1000",
    "ANONYMOUS_PER_MINUTE": "100000",
    "KEY_PER_MINUTE": "100000",
    "DISCONNECT_GRACE_S": "1",
}


_PUBLIC_ID = re.compile(r"(job|ses|req)_[0-9a-f]{32}")
_MACAROON = re.compile(r"Ag(E[A-Z]|JC)[A-Za-z0-9+/_=-]{40,}")  # how version 2 begins, with and without a location
_INVOICE = re.compile(r"lnbcrt[0-9]{1,12}[munp]?1[02-9ac-hj-np-z]{20,}", re.IGNORECASE)


@contextmanager
def running_stack(home: Path, **settings: str) -> Iterator[Stack]:
    """Run the Procfile (without the monitor) on the simulated model, with `settings` on top of the quick ones."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    environment = {**kept, **QUICK, **settings, "PORT": "0"}
    with Stack(home, environment, real_model=False, processes=PROCESSES) as stack:
        yield stack


@contextmanager
def open_market(stack: Stack) -> Iterator[Market]:
    """Connect a customer and a tester to a running stack."""
    with ExitStack() as opened:
        # Closed before the stack is stopped: web waits for connections that are kept alive.
        api = opened.enter_context(httpx.Client(base_url=stack.endpoints["web"], timeout=40, trust_env=False))
        wallet = Wallet(stack.endpoints["wallet"])
        opened.callback(wallet._http.close)
        ledger = LedgerReader(stack.endpoints["database_url"])
        opened.callback(ledger.close)
        lightning = LightningHand(stack.endpoints)
        opened.callback(lightning.close)
        model = ModelHand(stack.endpoints["sim_llm"])
        opened.callback(model.close)
        yield Market(stack, api, wallet, ledger, lightning, model)


@dataclass(frozen=True)
class Market:
    """Where jobs are bought. Every order's text is unique, so that a fault may be aimed at it."""

    stack: Stack
    api: httpx.Client
    wallet: Wallet
    ledger: LedgerReader
    lightning: LightningHand
    model: ModelHand

    def order(self, text: str = "Say something short.") -> Order:
        """Create a job."""
        mark = uuid.uuid4().hex
        answer = self.api.post("/api/jobs", json={"request": f"{text} ({mark})"})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        created = answer.json()
        assert created["state"] == "awaiting_eval_payment"
        assert created["evalInvoice"]["amountSats"] * 1000 == EVAL_MSAT
        return Order(self, created["jobId"], mark, created["evalInvoice"]["paymentRequest"])

    def accepted(self, text: str = "Say something short.") -> Order:
        """Create a job, pay its evaluation and wait for its work invoice."""
        order = self.order(text)
        order.pay_evaluation()
        order.reach("awaiting_work_payment")
        return order

    def logs(self) -> dict[str, str]:
        """Return all that each process wrote."""
        return {name: self.stack.log(name) for name in self.stack.processes}

    def require_discretion(self) -> None:
        """No process wrote a public id, a macaroon, an invoice or a secret of the stack: whoever reads logs could act on them."""
        settings = self.stack.environment
        names = (
            "SECRET_KEY",
            "RECEIPT_SIGNING_KEY",
            "LOG_SIGNING_KEY",
            "LND_MACAROON_INVOICES",
            "LND_MACAROON_PAYMENTS",
        )
        passwords = [urlsplit(settings[name]).password for name in ("DATABASE_URL", "REDIS_URL")]
        secrets = [*(settings[name] for name in names), *passwords]
        for name, text in self.logs().items():
            assert not _PUBLIC_ID.search(text), f"the log of {name} holds the id of a job, a session or a request"
            assert not _MACAROON.search(text), f"the log of {name} holds a macaroon"
            assert not _INVOICE.search(text), f"the log of {name} holds an invoice"
            assert not any(secret and secret in text for secret in secrets), f"the log of {name} holds a secret"

    def heal(self) -> None:
        """Take every fault back and have every process running."""
        self.lightning.heal()
        self.model.heal()
        for process in self.stack.processes.values():
            process.start()

    def require_true_books(self) -> None:
        """Every entry sums to zero, and our node account says what the merchant's node says."""
        assert self.ledger.unbalanced_entries() == []
        assert self.ledger.total() == 0
        eventually(
            lambda: self.ledger.total("node") == self.lightning.received_msat() - self.lightning.sent_msat(),
            what="a node account that is what the node received, less what it sent",
        )


@dataclass(frozen=True)
class Order:
    """One job from its customer's side. `mark` is the unique part of its request."""

    market: Market
    id: str
    mark: str
    eval_request: str

    def look(self) -> dict[str, Any]:
        """Return the job as the API shows it."""
        answer = self.market.api.get(f"/api/jobs/{self.id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        shown: dict[str, Any] = answer.json()
        assert shown["jobId"] == self.id
        return shown

    def reach(self, state: str, *, within_s: float = 20.0) -> dict[str, Any]:
        """Ask until the job is in `state`; return it. Fails at once where it ends otherwise."""

        def arrived() -> dict[str, Any] | None:
            shown = self.look()
            assert shown["state"] == state or shown["state"] not in ENDED, shown
            return shown if shown["state"] == state else None

        return eventually(arrived, what=f"a job that is {state}", within_s=within_s)

    def reach_unasked(self, state: str, *, within_s: float = 30.0) -> None:
        """Wait until the job is in `state` without asking the service, so that no GET nudges it."""
        eventually(lambda: self.state == state, what=f"a job that is {state}, unasked", within_s=within_s)

    def pay_evaluation(self) -> None:
        """Pay the evaluation invoice."""
        self.market.wallet.pay(self.eval_request)

    def work_request(self) -> str:
        """Return the work invoice's BOLT11 text as the node has it, without asking the service."""
        invoice = self.market.lightning.invoice(self.payment_hash("work"))
        assert invoice is not None
        return str(invoice["payment_request"])

    def pay_work(self) -> int:
        """Pay the work invoice; return its amount in millisatoshi."""
        invoice = self.look()["workInvoice"]
        self.market.wallet.pay(invoice["paymentRequest"])
        return int(invoice["amountSats"]) * 1000

    def payment_hash(self, purpose: str) -> str:
        """Return the payment hash of the `eval` or `work` invoice, in hex."""
        return self.market.ledger.payment_hash(self.id, purpose)

    def node_state(self, purpose: str) -> str | None:
        """Return what the merchant's node says of an invoice; None where it has none."""
        invoice = self.market.lightning.invoice(self.payment_hash(purpose))
        return None if invoice is None else str(invoice["state"])

    @property
    def state(self) -> str:
        """The job's state, read from its row."""
        return self.market.ledger.state(self.id)

    @property
    def book(self) -> Book:
        """The job's money."""
        return self.market.ledger.book(self.id)

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """The bodies of the job's receipts."""
        return self.market.ledger.receipts(self.id)
