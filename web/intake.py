"""What happens to every request, whatever its route: an id, bounds, OPTIONS, standing headers, one line in the log.

The log has the route's rule, never the path: paths hold ids that are keys to money.
"""

from __future__ import annotations

import re

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from config.logging import bind_correlation_id, masked, new_correlation_id
from shared.kernel.errors import NotFound
from web.body import refuse_nul
from web.context import edge, request_id

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 1024 * 1024
REQUEST_ID = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
_METHOD = re.compile(r"[A-Z]{1,16}")

STANDING_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def register(app: Flask) -> None:
    """Hang the hooks on `app`."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(_begin)
    app.before_request(_check_bounds)
    app.before_request(_answer_options)
    app.after_request(_finish)


def _begin() -> None:
    g.started = edge().container.clock.monotonic()
    given = request.headers.get(REQUEST_ID, "")
    is_usable = _REQUEST_ID.fullmatch(given) is not None and masked(given) == given
    g.request_id = given if is_usable else new_correlation_id()
    bind_correlation_id(g.request_id)


def _check_bounds() -> None:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if "\x00" in request.path:
        raise NotFound("there is nothing at this address")
    for name, values in request.args.lists():
        for text in (name, *values):
            refuse_nul(text, field="query")


def _answer_options() -> Response | None:
    """Answer OPTIONS for every address there is, ids unknown to us included: the address decides, not the id."""
    if request.method != "OPTIONS" or request.routing_exception is not None:
        return None
    adapter = current_app.create_url_adapter(request)
    allowed = sorted(adapter.allowed_methods()) if adapter is not None else []
    response = Response(status=204, headers={"Allow": ", ".join(allowed)})
    del response.headers["Content-Type"]
    return response


def _finish(response: Response) -> Response:
    for name, value in STANDING_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[REQUEST_ID] = request_id()
    edge().cors.permit(request, response)
    elapsed_s = edge().container.clock.monotonic() - g.get("started", 0.0)
    log.info(
        "request",
        method=request.method if _METHOD.fullmatch(request.method) else "?",
        route=_route(),
        status=response.status_code,
        ms=round(elapsed_s * 1000, 1),
    )
    return response


def _route() -> str:
    if request.url_rule is not None:
        return request.url_rule.rule
    return "(method)" if isinstance(request.routing_exception, MethodNotAllowed) else "(none)"
