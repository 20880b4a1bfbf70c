"""The whole product as processes, started once for all tests that need it, and what acts on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest
import structlog

from cli.sandbox import Wallet
from devstack.supervisor import Stack
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.lightning_hand import LightningHand
from tests.e2e.market import Market, open_market, running_stack
from tests.e2e.model_hand import ModelHand
from tests.e2e.price_exchange import PriceExchange

# What threads of an earlier test still log must not get into what a command prints.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack; invoices live as long as in production."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def price_exchange() -> Iterator[PriceExchange]:
    """The bitcoin price of `hasty_stack`."""
    with PriceExchange() as exchange:
        yield exchange


@pytest.fixture(scope="session")
def hasty_stack(tmp_path_factory: pytest.TempPathFactory, price_exchange: PriceExchange) -> Iterator[Stack]:
    """A stack whose invoices expire within seconds, with little patience and a price that can be taken away."""
    hasty = running_stack(
        tmp_path_factory.mktemp("hasty"),
        INVOICE_EXPIRY_S="3",
        PRICE_PATIENCE_S="6",
        INVOICE_WAIT_S="3",
        BTC_PRICE_FEEDS=price_exchange.feeds,
    )
    with hasty as running:
        yield running


@pytest.fixture(scope="session")
def _open_market(stack: Stack) -> Iterator[Market]:
    with open_market(stack) as market:
        yield market
        market.require_discretion()


@pytest.fixture(scope="session")
def _open_hasty_market(hasty_stack: Stack) -> Iterator[Market]:
    with open_market(hasty_stack) as market:
        yield market
        market.require_discretion()


@pytest.fixture
def market(_open_market: Market) -> Iterator[Market]:
    """The stack, its customer and the tester's hands; whole again after each test, with true books."""
    yield _open_market
    _open_market.heal()
    _open_market.require_true_books()


@pytest.fixture
def hasty_market(_open_hasty_market: Market, price_exchange: PriceExchange) -> Iterator[Market]:
    """The same on the hasty stack."""
    yield _open_hasty_market
    price_exchange.is_open = True
    _open_hasty_market.heal()
    _open_hasty_market.require_true_books()


@pytest.fixture
def api(market: Market) -> httpx.Client:
    """An HTTP client of the stack's web process."""
    return market.api


@pytest.fixture
def wallet(market: Market) -> Wallet:
    """The customer's wallet."""
    return market.wallet


@pytest.fixture
def ledger(market: Market) -> LedgerReader:
    """The books."""
    return market.ledger


@pytest.fixture
def lightning(market: Market) -> LightningHand:
    """The sandbox nodes' control plane and the merchant's REST."""
    return market.lightning


@pytest.fixture
def model(market: Market) -> ModelHand:
    """The simulated model's faults."""
    return market.model
