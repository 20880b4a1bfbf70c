"""What a session's request can cost, and does cost: the smallest deposit always covers one request."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Settings
from shared.agent.pricing import Rates, actual, estimate, evaluation_charge, evaluation_most, request_most
from shared.agent.sessions.model import LEAST_SATS
from shared.kernel.money import charge_sats
from tests.architecture.settings_page import filled_in

PRICE = Decimal(100_000)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.load(filled_in())


@pytest.fixture(scope="module")
def rates(settings: Settings) -> Rates:
    return Rates(
        input_usd_per_mtok=settings.input_usd_per_mtok,
        output_usd_per_mtok=settings.output_usd_per_mtok,
        infra_usd=settings.infra_usd,
        margin_pct=settings.margin_pct,
        max_output_tokens=settings.max_output_tokens,
    )


def test_the_dearest_request_costs_no_more_than_the_smallest_deposit(rates: Rates, settings: Settings) -> None:
    most_msat = request_most(rates, request_chars=settings.max_request_chars, btc_price_usd=PRICE)
    assert most_msat == 72_000
    assert most_msat <= LEAST_SATS * 1000


def test_a_short_request_fits_into_what_keeps_a_session_active(rates: Rates, settings: Settings) -> None:
    most_msat = request_most(rates, request_chars=40, btc_price_usd=PRICE)
    assert most_msat == 38_000
    assert most_msat <= settings.session_minimum_sats * 1000


def test_judging_is_charged_by_its_tokens_and_at_least_a_sat(rates: Rates) -> None:
    charge_usd = evaluation_charge(rates, margin_pct=rates.margin_pct, tokens_in=300, tokens_out=40)
    assert charge_usd == Decimal("0.002100")
    assert charge_sats(charge_usd, btc_price_usd=PRICE) == 3
    nothing = evaluation_charge(rates, margin_pct=rates.margin_pct, tokens_in=0, tokens_out=0)
    assert charge_sats(nothing, btc_price_usd=PRICE) == 1


@given(chars=st.integers(1, 8000), price=st.decimals(1_000, 10_000_000, places=2))
def test_what_is_reserved_is_the_work_invoice_and_twice_the_judgement(rates: Rates, chars: int, price: Decimal) -> None:
    reserved = request_most(rates, request_chars=chars, btc_price_usd=price)
    work = estimate(rates, request_chars=chars, btc_price_usd=price)
    judged = evaluation_most(rates, request_chars=chars, btc_price_usd=price)
    assert reserved == work.amount_msat + judged
    assert reserved % 1000 == 0
    used = actual(rates, work, tokens_in=chars // 3, tokens_out=rates.max_output_tokens, paid_msat=work.amount_msat)
    assert used.charged_msat <= work.amount_msat
