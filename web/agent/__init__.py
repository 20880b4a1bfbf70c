"""Door three: the paid agent, `/api`."""

from __future__ import annotations

from flask import Flask

from web.agent import not_built, routes
from web.agent.schemas import ErrorResponseSchema
from web.door import Api
from web.unbuilt import refuse_all

OPTIONS = {
    "title": "Api",
    "version": "0.1.0",
    "info": {"description": "The paid agent: jobs paid with Lightning, one by one, without an account."},
    "servers": [{"url": "/api", "description": "Base API path"}],
}


def register(app: Flask) -> Api:
    """Open the door; return its document."""
    api = Api(app, prefix="AGENT", error_schema=ErrorResponseSchema, options=OPTIONS)
    for operations in (routes.health, routes.jobs):
        api.register_blueprint(operations)
    refuse_all(app, not_built.NOT_BUILT, reason=not_built.REASON)
    return api
