"""What work may cost and did cost. `Decimal` dollars in, whole sats out; the charge rounds up, the refund is paid minus charge."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.agent.model import Actual, Estimate
from shared.kernel.money import charge_sats, micro_usd, msat

# Measured on the local model's tokenizer: English and code stay above 3 characters a token, so 3 is an upper bound in practice;
# a text that beats it costs the operator, never the customer.
CHARS_PER_TOKEN = 3
PROMPT_OVERHEAD_TOKENS = 64
_MTOK = 1_000_000


@dataclass(frozen=True)
class Rates:
    """The operator's rates. USD a million tokens, USD a job, percent."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    infra_usd: Decimal
    margin_pct: Decimal
    max_output_tokens: int


def estimate(rates: Rates, *, request_chars: int, btc_price_usd: Decimal) -> Estimate:
    """Return the most the work can cost: every allowed output token, the request's length in tokens, infrastructure, margin."""
    tokens_in = -(-request_chars // CHARS_PER_TOKEN) + PROMPT_OVERHEAD_TOKENS
    cost_usd = _charge(rates, _token_cost(rates, tokens_in=tokens_in, tokens_out=rates.max_output_tokens))
    sats = charge_sats(cost_usd, btc_price_usd=btc_price_usd)
    return Estimate(cost_usd, rates.margin_pct, btc_price_usd, msat(sats))


def actual(rates: Rates, quoted: Estimate, *, tokens_in: int, tokens_out: int, paid_msat: int) -> Actual:
    """Return what the work did cost at the locked price. Beyond what was paid, the operator bears it."""
    cost_usd = _token_cost(rates, tokens_in=tokens_in, tokens_out=tokens_out)
    charge_usd = _charge(rates, cost_usd, margin_pct=quoted.margin_pct)
    charged_msat = min(msat(charge_sats(charge_usd, btc_price_usd=quoted.btc_price_usd)), paid_msat)
    return Actual(tokens_in, tokens_out, micro_usd(cost_usd), charge_usd, charged_msat)


def _token_cost(rates: Rates, *, tokens_in: int, tokens_out: int) -> Decimal:
    return (tokens_in * rates.input_usd_per_mtok + tokens_out * rates.output_usd_per_mtok) / _MTOK


def _charge(rates: Rates, cost_usd: Decimal, *, margin_pct: Decimal | None = None) -> Decimal:
    margin = rates.margin_pct if margin_pct is None else margin_pct
    return micro_usd((cost_usd + rates.infra_usd) * (1 + margin / 100))
