"""What work may cost and did cost. `Decimal` dollars in, whole sats out; the charge rounds up, the refund is paid minus charge."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.agent import prompts
from shared.agent.model import Actual, Estimate
from shared.kernel.money import charge_sats, micro_usd, msat

# Measured on the local model's tokenizer: English and code stay above 3 characters a token, so 3 is an upper bound in practice;
# a text that beats it costs the operator, never the customer.
CHARS_PER_TOKEN = 3
PROMPT_OVERHEAD_TOKENS = 64
EVALUATION_CHARS = sum(len(message.content) for message in prompts.evaluation(""))
EVALUATION_ASKS = 2  # an unreadable judgement is asked for once more (`shared/llm/service.py`)
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


def evaluation_most(rates: Rates, *, request_chars: int, btc_price_usd: Decimal) -> int:
    """Return the most that judging a request can cost, millisatoshi: asked twice, every allowed token used. Whole sats."""
    tokens_in = -(-(request_chars + EVALUATION_CHARS) // CHARS_PER_TOKEN) + PROMPT_OVERHEAD_TOKENS
    charge_usd = evaluation_charge(
        rates,
        margin_pct=rates.margin_pct,
        tokens_in=EVALUATION_ASKS * tokens_in,
        tokens_out=EVALUATION_ASKS * prompts.EVALUATION_MAX_TOKENS,
    )
    return msat(charge_sats(charge_usd, btc_price_usd=btc_price_usd))


def evaluation_charge(rates: Rates, *, margin_pct: Decimal, tokens_in: int, tokens_out: int) -> Decimal:
    """Return what a judgement costs in USD where it is charged by its tokens: these and the margin, no infrastructure."""
    return micro_usd(_token_cost(rates, tokens_in=tokens_in, tokens_out=tokens_out) * (1 + margin_pct / 100))


def request_most(rates: Rates, *, request_chars: int, btc_price_usd: Decimal) -> int:
    """Return the most that a session's request can cost, evaluation and work together, millisatoshi: what is reserved."""
    work = estimate(rates, request_chars=request_chars, btc_price_usd=btc_price_usd)
    return work.amount_msat + evaluation_most(rates, request_chars=request_chars, btc_price_usd=btc_price_usd)


def _token_cost(rates: Rates, *, tokens_in: int, tokens_out: int) -> Decimal:
    return (tokens_in * rates.input_usd_per_mtok + tokens_out * rates.output_usd_per_mtok) / _MTOK


def _charge(rates: Rates, cost_usd: Decimal, *, margin_pct: Decimal | None = None) -> Decimal:
    margin = rates.margin_pct if margin_pct is None else margin_pct
    return micro_usd((cost_usd + rates.infra_usd) * (1 + margin / 100))
