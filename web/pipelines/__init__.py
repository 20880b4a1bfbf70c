"""Door two: verification of code, `/api/v1`."""

from __future__ import annotations

from flask import Flask

from web.auth import BEARER, SECURITY_SCHEMES
from web.door import Api
from web.pipelines import forward, health, keys, plans, reverse, runs, usage
from web.pipelines.addresses import OneSpelling
from web.pipelines.schemas import ErrorResponseSchema

OPTIONS = {
    "title": "LUCID API",
    "version": "1.0.0",
    "info": {
        "description": "Two pipelines. Forward verifies code: its claims are run, and the evidence says what came out. Reverse writes code "
        "for a task and holds it against its specifications. What is complete leaves a receipt."
    },
    "servers": [
        {"url": "http://localhost:3001", "description": "Self-hosted, default port"},
        {
            "url": "https://{host}:{port}",
            "description": "Self-hosted, host and port of your own",
            "variables": {"host": {"default": "localhost"}, "port": {"default": "3001"}},
        },
        {
            "url": "https://api.trylucid.dev",
            "description": "The contract's managed service, not operated by this project",
        },
    ],
    "components": {"securitySchemes": SECURITY_SCHEMES},
    "security": [{BEARER: []}],
}


def register(app: Flask) -> Api:
    """Open the door; return its document."""
    app.wsgi_app = OneSpelling(app.wsgi_app)  # type: ignore[method-assign, assignment] # flask's documented way to wrap an application
    api = Api(app, prefix="PIPELINES", error_schema=ErrorResponseSchema, options=OPTIONS)
    for room in (forward, reverse, runs, usage, keys, plans, health):
        api.register_blueprint(room.operations)
    return api
