"""Door three: the paid agent, `/api`."""

from __future__ import annotations

from flask import Flask

from web.agent import demo, estimate, l402, refunds, routes, sessions
from web.agent.schemas import ErrorResponseSchema
from web.door import Api

OPTIONS = {
    "title": "Api",
    "version": "0.1.0",
    "info": {"description": "The paid agent: jobs paid with Lightning, one by one, without an account."},
    "servers": [{"url": "/api", "description": "Base API path"}],
    "components": {"securitySchemes": {sessions.SCHEME: sessions.SECURITY_SCHEME, l402.SCHEME: l402.SECURITY_SCHEME}},
}


def register(app: Flask) -> Api:
    """Open the door; return its document."""
    api = Api(app, prefix="AGENT", error_schema=ErrorResponseSchema, options=OPTIONS)
    for operations in (
        routes.health,
        sessions.operations,
        l402.operations,
        refunds.operations,
        demo.operations,
        estimate.operations,
    ):
        api.register_blueprint(operations)
    return api
