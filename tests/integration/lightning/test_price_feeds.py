"""The price port against real HTTP servers that are slow, wrong, absurd or gone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.kernel.errors import Unavailable
from shared.lightning.clients.price import NoTrustworthyPrice, PriceFeeds


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    def forward(self, seconds: float) -> None:
        self._elapsed_s += seconds


class Exchange(ThreadingHTTPServer):
    """Three exchanges in one server; `bodies` by path, `hold` makes a path wait."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.held: set[str] = set()
        self.dribbling: set[str] = set()
        self.release = threading.Event()
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answers)

    def say(self, coinbase: str, kraken: str, bitstamp: str) -> None:
        self.bodies = {
            "/coinbase": json.dumps({"data": {"amount": coinbase, "base": "BTC", "currency": "USD"}}).encode(),
            "/kraken": json.dumps({"error": [], "result": {"XXBTZUSD": {"c": [kraken, "0.1"]}}}).encode(),
            "/bitstamp": json.dumps({"last": bitstamp, "bid": "1"}).encode(),
        }

    @property
    def spec(self) -> str:
        base = f"http://127.0.0.1:{self.server_port}"
        return f"coinbase={base}/coinbase,kraken={base}/kraken?pair=XBTUSD, bitstamp={base}/bitstamp"


class _Answers(BaseHTTPRequestHandler):
    server: Exchange

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(self.path)
        if path in self.server.held:
            self.server.release.wait(10)
        body = self.server.bodies[path]
        self.send_response(self.server.statuses.get(path, 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            for start in range(0, len(body), 1 if path in self.server.dribbling else len(body)):
                self.wfile.write(body[start : start + (1 if path in self.server.dribbling else len(body))])
                if path in self.server.dribbling:
                    self.server.release.wait(0.1)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep the test's output clean."""


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    server = Exchange()
    server.say("100000.50", "100100.00", "99900.10")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def feeds_of(clock: HandClock) -> Callable[..., PriceFeeds]:
    def make(spec: str, **limits: float) -> PriceFeeds:
        return PriceFeeds(spec, clock=clock, **{"max_age_s": 600.0, "fetch_timeout_s": 10.0, **limits})

    return make


def test_the_median_of_three_is_quoted_exactly(
    exchange: Exchange, clock: HandClock, feeds_of: Callable[..., PriceFeeds]
) -> None:
    quote = feeds_of(exchange.spec).quote()
    assert quote.usd == Decimal("100000.50")
    assert (quote.source, quote.feeds, quote.is_fixed) == ("bitstamp+coinbase+kraken", 3, False)
    assert quote.at == clock.now()
    assert "/kraken?pair=XBTUSD" in exchange.asked


def test_a_json_number_keeps_all_its_digits(exchange: Exchange, feeds_of: Callable[..., PriceFeeds]) -> None:
    exchange.bodies["/bitstamp"] = b'{"last": 100000.123456789012345678}'
    exchange.say("100000.1", "100000.2", "0")
    exchange.bodies["/bitstamp"] = b'{"last": 100000.123456789012345678}'
    assert feeds_of(exchange.spec).quote().usd == Decimal("100000.123456789012345678")


@pytest.mark.parametrize(
    "lie", ["1", "0", "-100000", "NaN", "Infinity", "1e400", "106000", "94000", "ninety", "9" * 60]
)
def test_a_feed_that_lies_is_left_out(exchange: Exchange, feeds_of: Callable[..., PriceFeeds], lie: str) -> None:
    exchange.say("100000", "100200", lie)
    quote = feeds_of(exchange.spec).quote()
    assert (quote.usd, quote.source) == (Decimal(100_100), "coinbase+kraken")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"last": null}',
        b'{"last": true}',
        b'{"last": NaN}',
        b'{"last": -Infinity}',
        b'{"last": [1]}',
        b"[" * 5000,
        b"\xff\xfe",
        b'{"last": "100000", "pad": "' + b"x" * 100_000 + b'"}',
    ],
)
def test_a_feed_that_talks_nonsense_is_left_out(
    exchange: Exchange, feeds_of: Callable[..., PriceFeeds], body: bytes
) -> None:
    exchange.bodies["/bitstamp"] = body
    assert feeds_of(exchange.spec).quote().source == "coinbase+kraken"


def test_each_exchange_has_its_own_way_of_saying_no(exchange: Exchange, feeds_of: Callable[..., PriceFeeds]) -> None:
    exchange.bodies["/kraken"] = b'{"error": ["EGeneral:Too many requests"], "result": {}}'
    assert feeds_of(exchange.spec).quote().source == "bitstamp+coinbase"
    exchange.bodies["/coinbase"] = b'{"data": {"amount": "100000", "currency": "EUR"}}'
    with pytest.raises(NoTrustworthyPrice):
        feeds_of(exchange.spec).quote()


def test_an_error_page_is_no_price(exchange: Exchange, feeds_of: Callable[..., PriceFeeds]) -> None:
    exchange.statuses["/coinbase"] = 503
    assert feeds_of(exchange.spec).quote().feeds == 2


@pytest.mark.parametrize("way", ["held", "dribbling"])
def test_a_slow_feed_does_not_hold_up_the_others(
    exchange: Exchange, feeds_of: Callable[..., PriceFeeds], way: str
) -> None:
    getattr(exchange, way).add("/coinbase")
    started = time.monotonic()
    quote = feeds_of(exchange.spec, fetch_timeout_s=0.5).quote()
    assert time.monotonic() - started < 2
    assert quote.source == "bitstamp+kraken"


def test_one_feed_alone_is_not_believed(exchange: Exchange, feeds_of: Callable[..., PriceFeeds]) -> None:
    exchange.statuses = {"/coinbase": 500, "/kraken": 500}
    with pytest.raises(NoTrustworthyPrice) as caught:
        feeds_of(exchange.spec).quote()
    assert isinstance(caught.value, Unavailable)
    assert caught.value.retry_after_s > 0


def test_feeds_that_disagree_are_not_averaged(exchange: Exchange, feeds_of: Callable[..., PriceFeeds]) -> None:
    exchange.say("80000", "100000", "120000")
    with pytest.raises(NoTrustworthyPrice):
        feeds_of(exchange.spec).quote()


def test_a_quote_is_kept_for_thirty_seconds(
    exchange: Exchange, clock: HandClock, feeds_of: Callable[..., PriceFeeds]
) -> None:
    feeds = feeds_of(exchange.spec)
    first = feeds.quote()
    exchange.say("90000", "90000", "90000")
    clock.forward(29)
    assert feeds.quote() is first
    assert len(exchange.asked) == 3
    clock.forward(2)
    assert feeds.quote().usd == Decimal(90_000)


def test_an_old_price_serves_for_a_while_and_then_never(
    exchange: Exchange, clock: HandClock, feeds_of: Callable[..., PriceFeeds]
) -> None:
    feeds = feeds_of(exchange.spec)
    first = feeds.quote()
    exchange.statuses = {"/coinbase": 500, "/kraken": 500, "/bitstamp": 500}
    clock.forward(599)
    assert feeds.quote() is first
    clock.forward(2)
    with pytest.raises(NoTrustworthyPrice):
        feeds.quote()
    exchange.statuses.clear()
    clock.forward(6)
    assert feeds.quote().at == clock.now()


def test_feeds_that_are_down_are_not_hammered(
    exchange: Exchange, clock: HandClock, feeds_of: Callable[..., PriceFeeds]
) -> None:
    exchange.statuses = {"/coinbase": 500, "/kraken": 500, "/bitstamp": 500}
    feeds = feeds_of(exchange.spec)
    for _ in range(5):
        with pytest.raises(NoTrustworthyPrice):
            feeds.quote()
    assert len(exchange.asked) == 3


def test_many_callers_cause_one_refresh(exchange: Exchange, feeds_of: Callable[..., PriceFeeds]) -> None:
    feeds = feeds_of(exchange.spec)
    quotes: list[Decimal] = []
    callers = [threading.Thread(target=lambda: quotes.append(feeds.quote().usd)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert quotes == [Decimal("100000.50")] * 8
    assert len(exchange.asked) == 3


def test_while_one_asks_the_others_are_served_the_last_good_price(
    exchange: Exchange, clock: HandClock, feeds_of: Callable[..., PriceFeeds]
) -> None:
    feeds = feeds_of(exchange.spec, fetch_timeout_s=5.0)
    first = feeds.quote()
    exchange.held = {"/coinbase", "/kraken", "/bitstamp"}
    clock.forward(31)
    asking = threading.Thread(target=feeds.quote)
    asking.start()
    try:
        while len(exchange.asked) < 6:
            asking.join(0.01)
        assert feeds.quote() is first
        assert asking.is_alive()
    finally:
        exchange.release.set()
        asking.join()
    assert feeds.quote() is not first
    assert len(exchange.asked) == 6
