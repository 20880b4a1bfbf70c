"""Nodes: which there are, what they say of themselves, and how they are."""

from __future__ import annotations

import math
from typing import Any

from flask import Response

from shared.catalog.model import HEARTBEAT_LIFE_S, NodeStatus, Page, PassportType, Pulse
from web import problems
from web.context import container
from web.door import Answers, Operations
from web.gateway import passport_schemas as schemas
from web.gateway.passport_views import heartbeat_shown, page_shown, state_shown
from web.gateway.passports import READER, WRITER, filters_of_kind, viewer
from web.problems import Problem

operations = Operations("Compute", __name__, description="Nodes and their heartbeats")

UNKNOWN = "unknown_or_expired"


@operations.get(
    "/v1/compute",
    "lucid_search_compute",
    Answers(schemas.ListComputeResponseSchema, errors=(500, 503)),
    query=schemas.ComputeQuerySchema,
    guard=READER,
)
def search_compute(query: dict[str, Any]) -> dict[str, Any]:
    """List active nodes

    Of regions and runtimes any of those named will do; `gpu` is part of the name, in any case.
    """
    filters = filters_of_kind(
        PassportType.COMPUTE,
        query,
        regions=tuple(query.get("regions", ())),
        runtimes=tuple(query.get("runtimes", ())),
        provider_type=query.get("provider_type"),
        min_vram=query.get("min_vram"),
        gpu=query.get("gpu"),
    )
    page = Page(query["page"], query["per_page"])
    return page_shown("compute", container().catalog.page(viewer(), filters, page), page)


@operations.post(
    "/v1/compute/nodes/heartbeat",
    "lucid_heartbeat",
    Answers(schemas.NodeStateResponseSchema, errors=(400, 404, 500, 503)),
    body=schemas.ComputeHeartbeatSchema,
    guard=WRITER,
)
def take_heartbeat(body: dict[str, Any]) -> dict[str, Any]:
    """Take a node's heartbeat; it counts for 30 seconds

    Only from whoever registered the node. It replaces the one before as a whole; the time is the server's.
    """
    p95 = body.get("p95_ms_estimate")
    pulse = Pulse(
        status=NodeStatus(body["status"]),
        queue_depth=body.get("queue_depth"),
        price=body.get("price_per_1k_tokens_estimate"),
        p95=None if p95 is None else math.ceil(p95),
    )
    return {"success": True, "state": state_shown(container().nodes.beat(viewer(), body["compute_passport_id"], pulse))}


@operations.get(
    "/v1/compute/nodes/<computePassportId>/health",
    "lucid_get_health",
    Answers(schemas.NodeStateResponseSchema, errors=(500, 503)),
    guard=READER,
)
def get_health(computePassportId: str) -> dict[str, Any] | Response:  # noqa: N803 - the contract's parameter
    """Get a node's newest heartbeat; 503 `unknown_or_expired` where it is older than 30 seconds, or there is none"""
    found = container().nodes.health(viewer(), computePassportId)
    if found is None:
        message = f"no heartbeat of this node within {HEARTBEAT_LIFE_S} seconds"
        problem = Problem(503, UNKNOWN, message, retry_after_s=HEARTBEAT_LIFE_S)
        return problems.response_to(problem, members={"status": UNKNOWN})
    return {"success": True, "state": state_shown(*found)}


@operations.get(
    "/v1/compute/nodes/<computePassportId>/history",
    "lucid_get_node_history",
    Answers(schemas.NodeHistorySchema, errors=(404, 500, 503)),
    query=schemas.NodeHistoryQuerySchema,
    guard=READER,
)
def get_history(query: dict[str, Any], computePassportId: str) -> dict[str, Any]:  # noqa: N803
    """Get a node's heartbeats of the last hour, newest first"""
    heard = container().nodes.history(viewer(), computePassportId, limit=query["limit"])
    shown = [heartbeat_shown(heartbeat) for heartbeat in heard]
    return {"success": True, "compute_passport_id": computePassportId, "heartbeats": shown}
