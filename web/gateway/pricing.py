"""What the operator charges, and who pays when it goes wrong: public, so that it can be read before anything is paid."""

from __future__ import annotations

from typing import Any

from shared.agent.refunds import LEAST_LIFE_S
from shared.agent.sessions.model import LEAST_SATS, MOST_SATS
from shared.agent.settlement_table import NOTES, TABLE, Cell, RunCell, TableRow, UnitCell
from shared.kernel.money import whole_sats
from shared.lightning.payouts import fee_limit_msat
from web.context import container
from web.door import Answers, Operations
from web.gateway.pricing_schemas import SettlementTableSchema

operations = Operations("Pricing", __name__, description="Rates, limits and the settlement table")

_FIXED = "fixed"
_LARGE_MSAT = 1_000_000


@operations.get("/v1/pricing/settlement", "lucid_get_settlement_table", Answers(SettlementTableSchema, errors=(500,)))
def get_settlement_table() -> dict[str, Any]:
    """Get who pays when it goes wrong, with the rates, limits and refund terms that apply

    Every cell is produced by this version's tests, which check ledger, answer and receipt against its codes.
    """
    return {
        "success": True,
        "table": [_row(row) for row in TABLE],
        "notes": list(NOTES),
        "rates": _rates(),
        "limits": _limits(),
        "refunds": _refunds(),
        "price": _price(),
    }


def _row(row: TableRow) -> dict[str, Any]:
    cells = {
        "job": _cell(row.job) if row.job else None,
        "session_request": _cell(row.session_request) if row.session_request else None,
        "inference": _run_cell(row.inference) if row.inference else None,
        "verification": _unit_cell(row.verification) if row.verification else None,
        "plan": _cell(row.plan) if row.plan else None,
    }
    return {"situation": str(row.situation), "text": row.text, **cells}


def _cell(cell: Cell) -> dict[str, str]:
    return {
        "ends_as": str(cell.ends_as),
        "charged": str(cell.charged),
        "owed_back": str(cell.owed_back),
        "text": cell.text,
    }


def _run_cell(cell: RunCell) -> dict[str, str | None]:
    return {"ends_as": cell.ends_as, "outcome": cell.outcome, "counted": str(cell.counted), "text": cell.text}


def _unit_cell(cell: UnitCell) -> dict[str, str]:
    return {"ends_as": cell.ends_as, "unit": str(cell.unit), "text": cell.text}


def _rates() -> dict[str, Any]:
    settings = container().settings
    return {
        "evaluation_fee_sats": settings.eval_fee_sats,
        "input_usd_per_mtok": settings.input_usd_per_mtok,
        "output_usd_per_mtok": settings.output_usd_per_mtok,
        "infra_usd": settings.infra_usd,
        "margin_pct": settings.margin_pct,
        "max_output_tokens": settings.max_output_tokens,
    }


def _limits() -> dict[str, int]:
    settings = container().settings
    return {
        "max_request_chars": settings.max_request_chars,
        "max_unpaid_invoices": settings.max_unpaid_invoices,
        "demo_calls_per_hour": settings.demo_calls_per_hour,
        "invoice_expiry_s": settings.invoice_expiry_s,
        "min_deposit_sats": LEAST_SATS,
        "max_deposit_sats": MOST_SATS,
        "session_minimum_sats": settings.session_minimum_sats,
        "session_idle_s": settings.session_idle_s,
    }


def _refunds() -> dict[str, Any]:
    settings = container().settings
    return {
        "claim_within_days": settings.withdraw_days,
        "fees_paid_by": "operator",
        "fee_limit_min_sats": whole_sats(fee_limit_msat(0)),
        "fee_limit_pct": fee_limit_msat(100 * _LARGE_MSAT) // _LARGE_MSAT,
        "min_remaining_expiry_s": LEAST_LIFE_S,
        "claim_proof_required": settings.require_claim_proof,
    }


def _price() -> dict[str, Any]:
    settings = container().settings
    names = [entry.partition("=")[0].strip() for entry in settings.btc_price_feeds.split(",") if entry.strip()]
    return {"feeds": names, "is_fixed": names == [_FIXED], "max_age_s": settings.btc_price_max_age_s}
