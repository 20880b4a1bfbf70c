"""Epochs: what the log was at each boundary, and who vouches for it. Reading opens, closes and anchors nothing.

The log's own are public. A project's are views that only its tenant's key shows; what else is open asks for no key.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

from flask import request

from shared.access.model import Scope
from shared.kernel.errors import NotFound, Unavailable
from shared.receipts.model import EpochStatus, EpochView
from web.auth import ADMIN_HEADER, REFUSALS, caller, principal
from web.context import container
from web.door import Answers, Operations
from web.gateway import schemas
from web.gateway.epoch_schemas import OpenEpochSchema
from web.gateway.log import newest_head
from web.gateway.views import epoch_shown, present, target_shown

operations = Operations("Epochs", __name__, description="Epochs of the log and their anchors")

READY_SHOWN = 100
_CENT = Decimal("0.01")
_KEY = caller(Scope.INFERENCE, anonymous=False)


@operations.post(
    "/v1/epochs",
    "lucid_create_epoch",
    Answers(schemas.EpochResponseSchema, 201, (400, 500, 503)),
    body=OpenEpochSchema,
    guard=_KEY,
)
def create_epoch(body: dict[str, Any]) -> dict[str, Any]:
    """Open an epoch: a project's, or without a project the log's own

    One that is open is returned as it stands. A project's begins where its last one ended, so each of its receipts is in just one.
    """
    view = _opened(body.get("project_id"))
    return {"success": True, "epoch": _all_shown([view])[0]}


@operations.get(
    "/v1/epochs",
    "lucid_list_epochs",
    Answers(schemas.EpochListSchema, errors=(*REFUSALS, 500, 503)),
    query=schemas.EpochQuerySchema,
)
def list_epochs(query: dict[str, Any]) -> dict[str, Any]:
    """List epochs, newest first: the log's own, or with `project_id` and a key those of one of your projects"""
    page, per_page, status = query["page"], query["per_page"], query.get("status")
    if "project_id" in query:
        views, total = container().project_epochs.listing(
            tenant=_tenant(), project=query["project_id"], status=status, page=page, per_page=per_page
        )
    else:
        views, total = container().reading.epochs(status=status, page=page, per_page=per_page)
    pages = {"total": total, "page": page, "per_page": per_page, "total_pages": -(-total // per_page)}
    return {"success": True, "epochs": _all_shown(views), "pagination": pages}


@operations.get(
    "/v1/epochs/current",
    "lucid_get_current_epoch",
    Answers(schemas.EpochResponseSchema, errors=(*REFUSALS, 404, 500, 503)),
    query=schemas.CurrentEpochQuerySchema,
)
def get_current(query: dict[str, Any]) -> dict[str, Any]:
    """Get the open epoch, the log's or with a key one of your projects'; asking opens none"""
    if "project_id" in query:
        view = container().project_epochs.current(tenant=_tenant(), project=query["project_id"])
    else:
        view = container().reading.current_epoch()
    return {"success": True, "epoch": _all_shown([view])[0]}


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
        **{f"{status}_epochs": stats.by_status[str(status)] for status in EpochStatus},
        "total_receipts_anchored": stats.anchored_receipts,
    }
    return {"success": True, "stats": present(shown)}


@operations.get(
    "/v1/epochs/<epoch_id>",
    "lucid_get_epoch",
    Answers(schemas.EpochResponseSchema, errors=(*REFUSALS, 404, 500, 503)),
)
def get_epoch(epoch_id: str) -> dict[str, Any]:
    """Get an epoch, the log's or with a key one of your projects'"""
    return {"success": True, "epoch": _all_shown([_found(epoch_id)])[0]}


@operations.get(
    "/v1/epochs/<epoch_id>/verify",
    "lucid_verify_epoch",
    Answers(schemas.EpochVerificationSchema, errors=(*REFUSALS, 500, 503)),
)
def verify_epoch(epoch_id: str) -> dict[str, Any]:
    """Verify an epoch's anchors anew, from their evidence and the pinned keys"""
    try:
        view = _found(epoch_id)
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
    Answers(schemas.TransactionSchema, errors=(*REFUSALS, 404, 500, 503)),
)
def get_transaction(epoch_id: str) -> NoReturn:
    """Get the chain transaction that carries an epoch's root

    404 for every epoch as long as no anchor target is a chain.
    """
    _found(epoch_id)
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
        "authority": container().settings.witness_key or None,
        "authority_configured": bool(container().settings.witness_key),
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


def _opened(project: str | None) -> EpochView:
    if project is None:
        return container().log.open_epoch()
    return container().project_epochs.open(tenant=principal().tenant, project=project)


def _tenant() -> str:
    """Return whose key is shown. Raises `Unauthorized` where none is: a project's epochs are its tenant's."""
    _KEY.admit()
    return principal().tenant


def _found(epoch_id: str) -> EpochView:
    """Return an epoch of the log, or of a project of whoever shows a key. Raises `NotFound`."""
    try:
        return container().reading.epoch(epoch_id)
    except NotFound:
        if "Authorization" not in request.headers and ADMIN_HEADER not in request.headers:
            raise
    return container().project_epochs.find(tenant=_tenant(), epoch_id=epoch_id)
