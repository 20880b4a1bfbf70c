"""Door one: the gateway, `/v1`, `/v2`, `/health`, `/api/agents`, and the log's own addresses."""

from __future__ import annotations

from flask import Flask

from web.context import edge_of
from web.door import Api
from web.gateway import epochs, health, log, metrics, not_built, pricing, receipts
from web.gateway.schemas import ErrorResponseSchema
from web.unbuilt import refuse_all

OPTIONS = {
    "title": "LucidLayer API",
    "version": "1.0.0",
    "info": {
        "description": "Receipts, the log, epochs and health. What is not built answers 501 and stands in docs/not-built.md."
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
}


def register(app: Flask) -> Api:
    """Open the door; return its document."""
    api = Api(app, prefix="GATEWAY", error_schema=ErrorResponseSchema, options=OPTIONS)
    health.register(app, edge_of(app).container.clock)
    for room in (health, receipts, log, epochs, pricing):
        api.register_blueprint(room.operations)
    metrics.register(app)
    refuse_all(app, not_built.NOT_BUILT, reason=not_built.REASON)
    return api
