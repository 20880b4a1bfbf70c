"""Money arithmetic: integers of millisatoshi, `Decimal` dollars, never a float. Every rounding has a name."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, localcontext

MSAT_PER_SAT = 1000
SATS_PER_BTC = 100_000_000
MICRO_USD = Decimal("0.000001")


def charge_sats(usd: Decimal, *, btc_price_usd: Decimal) -> int:
    """Return the whole sats that cover `usd` at this price: the ceiling, and at least 1."""
    if btc_price_usd <= 0 or usd < 0:
        raise ValueError("a charge needs a positive price and an amount of at least 0")
    with localcontext(prec=40):
        exact = usd * SATS_PER_BTC / btc_price_usd
        return max(1, int(exact.to_integral_value(rounding=ROUND_CEILING)))


def msat(sats: int) -> int:
    """Return millisatoshi."""
    return sats * MSAT_PER_SAT


def whole_sats(amount_msat: int) -> int:
    """Return the whole sats in an amount of at least 0; the rest below a sat stays booked where it is."""
    if amount_msat < 0:
        raise ValueError("an amount is at least 0")
    return amount_msat // MSAT_PER_SAT


def micro_usd(usd: Decimal) -> Decimal:
    """Return `usd` rounded up to a millionth of a dollar: the precision that is stored and shown."""
    return usd.quantize(MICRO_USD, rounding=ROUND_CEILING)
