"""The lnd suite: two real lnd nodes on regtest under the product's own processes.

It runs where `lnd` and `btcd` are on PATH, or where `LND_SUITE_MERCHANT` and `LND_SUITE_CUSTOMER` each hold a JSON object with `grpc`
(host:port), `rest` (URL), `tls_cert` (path) and `macaroon` (the admin's, hex) of two regtest nodes with a channel that has money on
both sides. Elsewhere every test is a counted skip.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from cli.sandbox import Wallet
from devstack.supervisor import Stack
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.market import running_stack
from tests.lnd.regtest import LndRest, Nodes, missing_binaries, running_nodes
from tests.lnd.shop import Shop

INVOICES = (
    "/lnrpc.Lightning/AddInvoice",
    "/lnrpc.Lightning/LookupInvoice",
    "/lnrpc.Lightning/ListInvoices",
    "/lnrpc.Lightning/SubscribeInvoices",
    "/lnrpc.Lightning/GetInfo",
    "/invoicesrpc.Invoices/CancelInvoice",
)
PAYMENTS = (
    "/routerrpc.Router/SendPaymentV2",
    "/routerrpc.Router/TrackPaymentV2",
    "/lnrpc.Lightning/DecodePayReq",
    "/lnrpc.Lightning/GetInfo",
    "/lnrpc.Lightning/ListPayments",
)
_GIVEN = ("LND_SUITE_MERCHANT", "LND_SUITE_CUSTOMER")


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A merchant's and a customer's lnd with a channel between them."""
    if all(os.environ.get(name) for name in _GIVEN):
        merchant, customer = (LndRest(**json.loads(os.environ[name])) for name in _GIVEN)
        yield Nodes(merchant, customer)
        merchant.close()
        customer.close()
        return
    if missing := missing_binaries():
        pytest.skip(f"no real lnd here: {', '.join(missing)} not on PATH, and {' and '.join(_GIVEN)} not set")
    with running_nodes(tmp_path_factory.mktemp("regtest")) as running:
        yield running


@pytest.fixture(scope="session")
def lnd_stack(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack on the merchant's node, with macaroons for just what each part calls."""
    merchant = nodes.merchant
    settings = {
        "LND_GRPC": merchant.grpc,
        "LND_TLS_CERT": merchant.tls_cert,
        "LND_MACAROON_INVOICES": merchant.bake(*INVOICES),
        "LND_MACAROON_PAYMENTS": merchant.bake(*PAYMENTS),
        "LND_NETWORK": "regtest",
        "INVOICE_WAIT_S": "20",
        "PAYOUT_WAIT_S": "10",
    }
    with running_stack(tmp_path_factory.mktemp("lnd"), **settings) as running:
        yield running


@pytest.fixture
def shop(lnd_stack: Stack, nodes: Nodes) -> Iterator[Shop]:
    """The product, its customer and both books."""
    with ExitStack() as opened:
        api = opened.enter_context(httpx.Client(base_url=lnd_stack.endpoints["web"], timeout=60, trust_env=False))
        wallet = Wallet(nodes.customer.described())
        opened.callback(wallet.close)
        ledger = LedgerReader(lnd_stack.endpoints["database_url"])
        opened.callback(ledger.close)
        made = Shop(lnd_stack, api, wallet, ledger, nodes)
        yield made
        made.require_true_books()
