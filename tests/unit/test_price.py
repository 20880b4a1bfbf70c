"""The price port's rules that need no network."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.clock import SystemClock
from shared.lightning.clients.price import LEAST_USD, MAX_DEVIATION, MOST_USD, PriceFeeds, agreeing

FAIR = st.decimals(min_value=LEAST_USD, max_value=MOST_USD, places=2)


def test_a_fixed_price_is_enough_alone_and_says_so() -> None:
    feeds = PriceFeeds("fixed=100000", clock=SystemClock(), max_age_s=600)
    quote = feeds.quote()
    assert (quote.usd, quote.source, quote.feeds, quote.is_fixed) == (Decimal(100_000), "fixed", 1, True)
    assert feeds.is_fixed


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "fixed",
        "fixed=",
        "fixed=lots",
        "fixed=NaN",
        "fixed=0",
        "fixed=99999999",
        "fixed=100000,coinbase=https://a.test",
        "coinbase=https://a.test",
        "coinbase=https://a.test,kraken=https://b.test",
        "coinbase=https://a.test,coinbase=https://b.test,kraken=https://c.test",
        "coinbase=https://a.test,kraken=https://b.test,mtgox=https://c.test",
        "coinbase=ftp://a.test,kraken=https://b.test,bitstamp=https://c.test",
    ],
)
def test_a_spec_that_cannot_be_trusted_is_refused_at_start(spec: str) -> None:
    with pytest.raises(ValueError, match=r"price|feed"):
        PriceFeeds(spec, clock=SystemClock(), max_age_s=600)


@given(st.dictionaries(st.sampled_from("abcdefg"), st.decimals()))
def test_what_agrees_is_sane_and_close_together(samples: dict[str, Decimal]) -> None:
    kept = agreeing(samples)
    assert all(LEAST_USD <= usd <= MOST_USD for usd in kept.values())
    assert all(samples[name] == usd for name, usd in kept.items())
    if kept:
        assert max(kept.values()) <= min(kept.values()) * (1 + MAX_DEVIATION) / (1 - MAX_DEVIATION)


def test_two_feeds_that_are_further_apart_than_the_limit_do_not_agree_on_their_middle() -> None:
    assert agreeing({"a": Decimal(100_000), "b": Decimal(105_000)}).keys() == {"a", "b"}
    assert len(agreeing({"a": Decimal(100_000), "b": Decimal(105_001)})) == 1


@given(FAIR, st.dictionaries(st.sampled_from("xy"), st.decimals(), max_size=1))
def test_one_liar_among_three_never_moves_the_honest_ones_out(usd: Decimal, liar: dict[str, Decimal]) -> None:
    kept = agreeing({"a": usd, "b": usd, **liar})
    assert kept["a"] == kept["b"] == usd
