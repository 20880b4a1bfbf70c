"""Door one: the gateway, `/v1`, `/v2`, `/health`, `/api/agents`, and the log's own addresses."""

from __future__ import annotations

from flask import Flask

from web import limits
from web.auth import BEARER, SECURITY_SCHEMES
from web.context import edge_of
from web.door import Api
from web.gateway import (
    admin,
    chat,
    commits,
    compute,
    health,
    log,
    match,
    metrics,
    models,
    not_built,
    payouts,
    pricing,
    receipts,
    runs,
)
from web.gateway.schemas import ErrorResponseSchema
from web.unbuilt import refuse_all

OPTIONS = {
    "title": "LucidLayer API",
    "version": "1.0.0",
    "info": {
        "description": "Inference under a policy with a receipt for every run; models and nodes, what they would match, who is paid; "
        "receipts, the log, epochs and health. What is not built stands here with 501 and the reason."
    },
    "servers": [
        {"url": "http://localhost:3001", "description": "Self-hosted, default port"},
        {
            "url": "https://{host}:{port}",
            "description": "Self-hosted, host and port of your own",
            "variables": {"host": {"default": "localhost"}, "port": {"default": "3001"}},
        },
        {
            "url": "https://api.lucid.foundation",
            "description": "The contract's managed service, not operated by this project",
        },
    ],
    "components": {"securitySchemes": SECURITY_SCHEMES},
    "security": [{BEARER: []}, {}],
}


def register(app: Flask) -> Api:
    """Open the door; return its document."""
    limits.register(app)
    api = Api(app, prefix="GATEWAY", error_schema=ErrorResponseSchema, options=OPTIONS)
    health.register(app, edge_of(app).container.clock)
    for room in (health, receipts, log, commits, pricing, payouts, admin, models, compute, match, chat, runs):
        api.register_blueprint(room.operations)
    metrics.register(app)
    refuse_all(app, api, not_built.UNBUILT)
    return api
