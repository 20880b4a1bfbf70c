"""What happens to every request, whatever its route: an id, bounds, OPTIONS, standing headers, one line in the log, a count.

Log and metrics have the route's rule, never the path: paths hold ids that are keys to money.
"""

from __future__ import annotations

import os
import re
from typing import cast

import structlog
from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from config.logging import bind_correlation_id, masked, new_correlation_id
from shared.kernel.errors import NotFound
from web.context import edge, request_id

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 1024 * 1024
REQUEST_ID = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_METER = "lucid.requests"
_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)

STANDING_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RequestMeter:
    """Counts requests and times them. Labels are bounded whatever a caller sends: a route's rule, a known method, a status.

    Under gunicorn the figures lie in files that its workers share (`web/gunicorn.py` names the folder), so that any of them
    can answer for all; elsewhere they are this process's own.
    """

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._requests = Counter(
            "lucid_http_requests", "Requests answered.", ("route", "method", "status"), registry=self._own
        )
        self._durations = Histogram(
            "lucid_http_request_seconds",
            "Time to an answer.",
            ("route", "method"),
            registry=self._own,
            buckets=_DURATIONS_S,
        )

    def count(self, *, route: str, method: str, status: int, elapsed_s: float) -> None:
        """Add one answered request."""
        self._requests.labels(route, method, status).inc()
        self._durations.labels(route, method).observe(elapsed_s)

    def registry(self) -> CollectorRegistry:
        """Return where the figures of all of this server's processes are collected."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._own
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call] # the library leaves it untyped
        return shared


def meter() -> RequestMeter:
    """Return this application's meter."""
    return cast("RequestMeter", current_app.extensions[_METER])


def register(app: Flask) -> None:
    """Hang the hooks on `app`."""
    app.extensions[_METER] = RequestMeter()
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
    route, method = _route(), request.method if request.method in _METHODS else "?"
    log.info("request", method=method, route=route, status=response.status_code, ms=round(elapsed_s * 1000, 1))
    meter().count(route=route, method=method, status=response.status_code, elapsed_s=elapsed_s)
    return response


def _route() -> str:
    if request.url_rule is not None:
        return request.url_rule.rule
    return "(method)" if isinstance(request.routing_exception, MethodNotAllowed) else "(none)"
