"""Epochs: what the log was at each boundary, and who vouches for it. Reading opens, closes and anchors nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

from shared.kernel.errors import NotFound, Unavailable
from shared.receipts.model import EpochStatus, EpochView
from web.context import container
from web.door import Answers, Operations
from web.gateway import schemas
from web.gateway.log import newest_head
from web.gateway.views import epoch_shown, present, target_shown
from web.problems import NotBuilt

operations = Operations("Epochs", __name__, description="Epochs of the log and their anchors")

READY_SHOWN = 100
_CENT = Decimal("0.01")


@operations.get(
    "/v1/epochs",
    "lucid_list_epochs",
    Answers(schemas.EpochListSchema, errors=(500, 501, 503)),
    query=schemas.EpochQuerySchema,
)
def list_epochs(query: dict[str, Any]) -> dict[str, Any]:
    """List epochs, newest first"""
    _refuse_projects(query)
    page, per_page = query["page"], query["per_page"]
    views, total = container().reading.epochs(status=query.get("status"), page=page, per_page=per_page)
    pages = {"total": total, "page": page, "per_page": per_page, "total_pages": -(-total // per_page)}
    return {"success": True, "epochs": _all_shown(views), "pagination": pages}


@operations.get(
    "/v1/epochs/current",
    "lucid_get_current_epoch",
    Answers(schemas.EpochResponseSchema, errors=(404, 500, 501, 503)),
    query=schemas.CurrentEpochQuerySchema,
)
def get_current(query: dict[str, Any]) -> dict[str, Any]:
    """Get the open epoch; asking opens none"""
    _refuse_projects(query)
    return {"success": True, "epoch": epoch_shown(container().reading.current_epoch(), newest_head())}


@operations.get(
    "/v1/epochs/ready", "lucid_list_epochs_ready", Answers(schemas.EpochsReadyResponseSchema, errors=(500, 503))
)
def list_ready() -> dict[str, Any]:
    """List closed epochs that wait for an anchor, the newest hundred"""
    views, total = container().reading.epochs(status=EpochStatus.ANCHORING, page=1, per_page=READY_SHOWN)
    return {"success": True, "count": total, "epochs": _all_shown(views)}


@operations.get(
    "/v1/epochs/stats", "lucid_get_epoch_stats", Answers(schemas.EpochStatsResponseSchema, errors=(500, 503))
)
def get_stats() -> dict[str, Any]:
    """Get the log's epochs in numbers"""
    stats = container().reading.stats()
    average = Decimal(stats.total_receipts) / stats.total_epochs if stats.total_epochs else Decimal(0)
    last = stats.last_anchor_at
    shown = {
        "total_epochs": stats.total_epochs,
        "total_receipts": stats.total_receipts,
        "by_status": stats.by_status,
        "avg_receipts_per_epoch": average.quantize(_CENT),
        "last_anchor_time": int(last.timestamp()) if last else None,
    }
    return {"success": True, "stats": present(shown)}


@operations.get(
    "/v1/epochs/<epoch_id>", "lucid_get_epoch", Answers(schemas.EpochResponseSchema, errors=(404, 500, 503))
)
def get_epoch(epoch_id: str) -> dict[str, Any]:
    """Get an epoch"""
    return {"success": True, "epoch": _all_shown([container().reading.epoch(epoch_id)])[0]}


@operations.get(
    "/v1/epochs/<epoch_id>/verify",
    "lucid_verify_epoch",
    Answers(schemas.EpochVerificationSchema, errors=(500, 503)),
)
def verify_epoch(epoch_id: str) -> dict[str, Any]:
    """Verify an epoch's anchors anew, from their evidence and the pinned keys"""
    try:
        view = container().reading.epoch(epoch_id)
    except NotFound:
        return _verified(valid=False, error="epoch not found")
    checked = [
        {**target_shown(anchor), "valid": container().reading.evidence_holds(view.epoch, anchor)}
        for anchor in view.anchors
    ]
    is_valid = any(target["valid"] for target in checked)
    root = view.epoch.root
    error = None if is_valid else "no anchor vouches for this epoch yet"
    return {**_verified(valid=is_valid, error=error), "expected_root": root.hex() if root else None, "anchors": checked}


@operations.get(
    "/v1/epochs/<epoch_id>/transaction",
    "lucid_get_epoch_transaction",
    Answers(schemas.TransactionSchema, errors=(404, 500, 503)),
)
def get_transaction(epoch_id: str) -> NoReturn:
    """Get the chain transaction that carries an epoch's root

    404 for every epoch as long as no anchor target is a chain.
    """
    container().reading.epoch(epoch_id)
    raise NotFound("no chain transaction carries this epoch: its anchors are cosignatures")


@operations.get(
    "/v1/anchoring/health",
    "lucid_get_anchoring_health",
    Answers(schemas.AnchoringHealthSchema, errors=(500, 503)),
)
def get_anchoring_health() -> dict[str, Any]:
    """Tell how anchoring fares, from its own records"""
    if not container().settings.witness_url:
        raise Unavailable("no anchor target is configured", retry_after_s=3600, code="no_anchor_target")
    stats = container().reading.stats()
    is_failing = stats.by_status.get(EpochStatus.FAILED, 0) > 0
    last = stats.last_anchor_at
    shown = {
        "success": True,
        "connected": not is_failing,
        "network": "witness",
        "mock_mode": False,
        "error": "epochs wait whose every target refused or did not answer" if is_failing else None,
        "targets": ["witness"],
        "last_anchor_time": int(last.timestamp()) if last else None,
    }
    return present(shown)


def _verified(*, valid: bool, error: str | None) -> dict[str, Any]:
    nothing_on_chain = {"on_chain_root": None, "expected_root": None, "tx_signature": None}
    return {"success": True, "valid": valid, **nothing_on_chain, "error": error}


def _all_shown(views: list[EpochView]) -> list[dict[str, Any]]:
    head = newest_head() if any(view.status is EpochStatus.OPEN for view in views) else None
    return [epoch_shown(view, head) for view in views]


def _refuse_projects(query: dict[str, Any]) -> None:
    if query.get("project_id"):
        raise NotBuilt("epochs of one project are not implemented: leave project_id out for those of the whole log")
