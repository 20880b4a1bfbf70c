"""What a bitcoin costs in US dollars: several feeds, the median of those that agree, or no answer at all.

Sources and formats: Coinbase `/v2/prices/BTC-USD/spot`, Kraken `/0/public/Ticker?pair=XBTUSD`, Bitstamp
`/api/v2/ticker/btcusd/`. Numbers are Decimal from the wire to the quote.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from statistics import median, median_low
from types import MappingProxyType
from typing import Any

import httpx

from shared.kernel.clock import Clock
from shared.kernel.errors import Unavailable
from shared.kernel.failpoints import effect as failpoint

FIXED = "fixed"
LEAST_USD = Decimal(1_000)
MOST_USD = Decimal(10_000_000)
MAX_DEVIATION = Decimal("0.05")
QUORUM = 2
LEAST_FEEDS = 3
CACHE_S = 30.0
_RETRY_S = 5.0
_MAX_BODY = 65_536
_MAX_DIGITS = 40


class NoTrustworthyPrice(Unavailable):
    """Too few feeds answered, or they disagree, and the last good price is too old."""

    code = "no_trustworthy_price"


@dataclass(frozen=True)
class PriceQuote:
    """US dollars a bitcoin, as of `at`. `source` names the feeds that agreed, `feeds` counts them."""

    usd: Decimal
    source: str
    at: datetime
    feeds: int
    is_fixed: bool


def _coinbase(body: Any) -> Any:
    if body["data"]["currency"] != "USD":
        raise ValueError("not a price in USD")
    return body["data"]["amount"]


def _kraken(body: Any) -> Any:
    if body["error"]:
        raise ValueError("kraken reports an error")
    (ticker,) = body["result"].values()
    return ticker["c"][0]


def _bitstamp(body: Any) -> Any:
    return body["last"]


PARSERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"coinbase": _coinbase, "kraken": _kraken, "bitstamp": _bitstamp}
)


class PriceFeeds:
    """The price port. `spec` is `name=url,name=url` with names from `PARSERS`, or `fixed=100000` on its own.

    Raises ValueError for a spec that can't work. Safe to share between threads: one of them asks the feeds, and only where
    there is no price of the last `max_age_s` do the others wait for it.
    """

    def __init__(self, spec: str, *, clock: Clock, max_age_s: float, fetch_timeout_s: float = 3.0) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self._fetch_timeout_s = fetch_timeout_s
        self._fixed_usd, self._urls = _parsed(spec)
        self._asking = threading.Lock()
        self._last: tuple[PriceQuote, float] | None = None  # with the monotonic time of asking
        self._tried_at: float | None = None

    @property
    def is_fixed(self) -> bool:
        """True when the operator named the price: for the embedded stack and tests."""
        return self._fixed_usd is not None

    def quote(self) -> PriceQuote:
        """Return a price that may be `max_age_s` old (see `at`). Raises `NoTrustworthyPrice`, never guesses."""
        if self._fixed_usd is not None:
            return PriceQuote(usd=self._fixed_usd, source=FIXED, at=self._clock.now(), feeds=1, is_fixed=True)
        with failpoint("price.quote"):
            self._ask_if_due()
        usable = self._usable()
        if usable is None:
            raise NoTrustworthyPrice("no trustworthy bitcoin price", retry_after_s=int(_RETRY_S))
        return usable

    def _ask_if_due(self) -> None:
        if not self._is_due() or not self._asking.acquire(blocking=self._usable() is None):
            return
        try:
            if self._is_due():  # somebody else may have asked while we waited
                self._refresh()
        finally:
            self._asking.release()

    def _usable(self) -> PriceQuote | None:
        if self._last is None or self._clock.monotonic() - self._last[1] > self._max_age_s:
            return None
        return self._last[0]

    def _is_due(self) -> bool:
        """Ask the feeds at most every 30 s while they agree, every 5 s while they don't."""
        now = self._clock.monotonic()
        if self._last is not None and now - self._last[1] < CACHE_S:
            return False
        return self._tried_at is None or now - self._tried_at >= _RETRY_S

    def _refresh(self) -> None:
        asked_at = self._clock.monotonic()
        agreed = agreeing(self._samples())
        self._tried_at = self._clock.monotonic()  # not before: who finds no price waits for the answers
        if len(agreed) < QUORUM:
            return
        found = PriceQuote(
            usd=median(agreed.values()),
            source="+".join(sorted(agreed)),
            at=self._clock.now(),
            feeds=len(agreed),
            is_fixed=False,
        )
        self._last = (found, asked_at)

    def _samples(self) -> dict[str, Decimal]:
        """Ask every feed at once; one that is late, broken or absurd is left out."""
        deadline = time.monotonic() + self._fetch_timeout_s
        pool = ThreadPoolExecutor(len(self._urls), thread_name_prefix="price")
        try:
            asked: dict[str, Future[Decimal | None]] = {
                name: pool.submit(_sample, name, url, timeout_s=self._fetch_timeout_s, deadline=deadline)
                for name, url in self._urls.items()
            }
            wait(asked.values(), timeout=self._fetch_timeout_s)
            answers = {name: future.result() for name, future in asked.items() if future.done()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return {name: usd for name, usd in answers.items() if usd is not None}


def agreeing(samples: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return the samples inside the sane band and within 5 % of the median of those (of two: of the lower one)."""
    sane = {name: usd for name, usd in samples.items() if usd.is_finite() and LEAST_USD <= usd <= MOST_USD}
    if not sane:
        return {}
    middle = median_low(sane.values())
    return {name: usd for name, usd in sane.items() if abs(usd - middle) <= middle * MAX_DEVIATION}


def _parsed(spec: str) -> tuple[Decimal | None, dict[str, str]]:
    pairs = [entry.strip().partition("=") for entry in spec.split(",") if entry.strip()]
    entries = {name: value for name, _, value in pairs}
    if len(entries) != len(pairs):
        raise ValueError("a price feed is named twice")
    if FIXED in entries:
        if len(entries) > 1:
            raise ValueError("a fixed price stands alone")
        return _fixed(entries[FIXED]), {}
    for name, url in entries.items():
        if name not in PARSERS:
            raise ValueError(f"unknown price feed {name!r}; known: {', '.join(PARSERS)}, {FIXED}")
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"price feed {name} needs a URL")
    if len(entries) < LEAST_FEEDS:
        raise ValueError(f"at least {LEAST_FEEDS} price feeds are needed, or {FIXED}=<usd>")
    return None, entries


def _fixed(text: str) -> Decimal:
    usd = _decimal(text)
    if usd is None or not LEAST_USD <= usd <= MOST_USD:
        raise ValueError(f"a fixed price is between {LEAST_USD} and {MOST_USD} USD")
    return usd


def _sample(name: str, url: str, *, timeout_s: float, deadline: float) -> Decimal | None:
    """Return what one feed says; None for anything that isn't a plain price in time."""
    try:
        body = json.loads(_fetched(url, timeout_s=timeout_s, deadline=deadline), parse_float=Decimal, parse_int=Decimal)
        return _decimal(PARSERS[name](body))
    except Exception:  # noqa: BLE001 - a stranger's body: no shape of it may cost us the other feeds
        return None


def _fetched(url: str, *, timeout_s: float, deadline: float) -> bytes:
    """Return the body of a 200 answer. Size and time are bounded, so that a dribbling server keeps no thread."""
    read = bytearray()
    with httpx.stream("GET", url, timeout=timeout_s, headers={"Accept-Encoding": "identity"}) as answer:
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"HTTP status {answer.status_code}")
        for chunk in answer.iter_raw():
            read += chunk
            if len(read) > _MAX_BODY or time.monotonic() > deadline:
                raise ValueError("the answer is too long, or too slow")
    return bytes(read)


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if not isinstance(value, str) or len(value) > _MAX_DIGITS:
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
