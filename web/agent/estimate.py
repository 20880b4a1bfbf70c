"""What a request would cost: told, never charged."""

from __future__ import annotations

from typing import Any

from shared.agent.estimating import Forecast
from shared.agent.sessions.model import LEAST_SATS, MOST_SATS
from web.agent.schemas import EstimateSchema, RequestQuerySchema
from web.context import container
from web.door import Answers, Operations

operations = Operations("estimate", __name__, description="Costs, before anything is bought", url_prefix="/api")


@operations.get("/estimate", "estimateCost", Answers(EstimateSchema, errors=(400, 500)), query=RequestQuerySchema)
def estimate_cost(query: dict[str, str]) -> dict[str, Any]:
    """Tell what a request would cost at most

    The arithmetic of the invoices at the price of this moment; an invoice locks its own. Creates nothing, promises nothing.
    """
    return _shown(container().estimates.of(query["request"]))


def _shown(told: Forecast) -> dict[str, Any]:
    return {
        "evalSats": told.eval_sats,
        "workSats": told.work_sats,
        "totalSats": told.eval_sats + told.work_sats,
        "estimatedCostUsd": told.work.cost_usd,
        "marginPct": told.work.margin_pct,
        "btcPriceUsd": told.btc_price_usd,
        "priceSource": told.price_source,
        "priceAgeS": told.price_age_s,
        "sessionMaxEvalSats": told.session_eval_sats,
        "sessionMaxSats": told.session_sats,
        "minDepositSats": LEAST_SATS,
        "maxDepositSats": MOST_SATS,
    }
