"""Errors out: one tree in, the JSON shape of the door whose path prefix is longest out. Never HTML, never a detail of a fault.

`CAUSES` is the one table from the error tree to HTTP. `Accept: application/problem+json` gets RFC 9457 on any path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Request, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from shared.idempotency.model import KeyReused
from shared.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    IntegrityFault,
    InvalidInput,
    LucidError,
    NotFound,
    PaymentRequired,
    TooMany,
    Unauthorized,
    Unavailable,
    Unprocessable,
)
from web.context import request_id

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"
REALM = 'Bearer realm="lucid"'


class NotBuilt(LucidError):
    """The contract has this operation; this version does not."""

    code = "not_implemented"


class Door(StrEnum):
    """The front doors, each with an error shape of its own."""

    GATEWAY = "gateway"
    OPENAI = "openai"
    VERIFICATION = "verification"
    AGENT = "agent"


PREFIXES = {
    "/v1/chat/completions": Door.OPENAI,
    "/v1/models/": Door.OPENAI,  # one model, as OpenAI's clients ask for it; the list itself is the gateway's
    "/api/v1": Door.VERIFICATION,
    "/api/agents": Door.GATEWAY,
    "/api": Door.AGENT,
}
_IMPLIED = frozenset({"HEAD", "OPTIONS"})
KNOWS_503 = frozenset({Door.GATEWAY, Door.OPENAI})

CAUSES: tuple[tuple[type[LucidError], HTTPStatus], ...] = (
    (KeyReused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unprocessable, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidInput, HTTPStatus.BAD_REQUEST),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Gone, HTTPStatus.GONE),
    (PaymentRequired, HTTPStatus.PAYMENT_REQUIRED),
    (Unauthorized, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (NotBuilt, HTTPStatus.NOT_IMPLEMENTED),
)

HTTP_FAULTS: dict[int, tuple[str, str]] = {
    400: ("invalid_request", "the request is malformed"),
    401: ("unauthorized", "a credential is missing or not valid here"),
    403: ("forbidden", "this is not allowed"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    406: ("not_acceptable", "there is no such representation"),
    408: ("request_timeout", "the request did not arrive in time"),
    413: ("request_too_large", "the request is too large"),
    414: ("address_too_long", "the address is too long"),
    415: ("unsupported_media_type", "the body must be JSON: Content-Type: application/json"),
    416: ("range_not_satisfiable", "there is no such range"),
    417: ("expectation_failed", "the expectation cannot be met"),
    431: ("headers_too_large", "the header fields are too large"),
    501: ("not_implemented", "this is not built"),
}
OPENAI_NAMES = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
"""What OpenAI calls a status: type and code; elsewhere the code is ours in lower case."""
INTERNAL = ("internal_error", "something went wrong on our side; the request id helps to find it")
FAULTS_OF_OURS = frozenset({INTERNAL[0], "upstream_error", "still_running"})
"""Codes of a 500 at the verification door; whatever else is our fault is `internal_error` there."""


@dataclass(frozen=True)
class Problem:
    """An error as it leaves, before a door gives it its shape. `retry_after_s`: whole seconds."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    sats: dict[str, int] = field(default_factory=dict)
    """How much would be needed and how much is there, where that is what the error is about."""


def door_of(path: str) -> Door:
    """Return the door of the longest prefix that `path` lies under."""
    found = [prefix for prefix in PREFIXES if path == prefix or path.startswith(prefix.rstrip("/") + "/")]
    return PREFIXES[max(found, key=len)] if found else Door.GATEWAY


def problem_of(error: Exception, door: Door) -> Problem:
    """Translate any exception. What is not ours, or ours and alarming, tells the caller nothing and the log everything."""
    if isinstance(error, LucidError) and not isinstance(error, IntegrityFault):
        return _from_tree(error, door)
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        return _from_http(error)
    log.error("unhandled", error=type(error).__name__, exc_info=error)
    return Problem(500, *INTERNAL)


def answer(error: Exception, *, status: int | None = None) -> Response:
    """Return the response for an error of the current request; `status` where the operation has one of its own for it."""
    problem = problem_of(error, door_of(request.path))
    return response_to(problem if status is None else replace(problem, status=status))


def response_to(problem: Problem, *, members: dict[str, Any] | None = None) -> Response:
    """Return the response that tells `problem` to the current request; `members` are told besides, in whatever shape."""
    more = members or {}
    if _wants_problem_json(request):
        response = _respond(problem, {**_rfc9457(problem), **more}, PROBLEM_JSON)
    else:
        response = _respond(problem, {**SHAPES[door_of(request.path)](problem), **more}, "application/json")
    response.headers.update(problem.headers)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


def register(app: Flask) -> None:
    """Let every exception of `app` pass through here."""
    app.register_error_handler(Exception, answer)


def _from_tree(error: LucidError, door: Door) -> Problem:
    status = next((int(status) for kind, status in CAUSES if isinstance(error, kind)), 500)
    if status == HTTPStatus.SERVICE_UNAVAILABLE and door not in KNOWS_503:
        status = 500  # their contracts know no 503
    is_unauthorized = status == HTTPStatus.UNAUTHORIZED
    at = error.field if isinstance(error, InvalidInput) else None
    more = error.details if isinstance(error, Unprocessable) else {}
    return Problem(
        status,
        error.code,
        error.message,
        retry_after_s=getattr(error, "retry_after_s", None),
        details={**({"field": at} if at else {}), **more},
        headers={"WWW-Authenticate": REALM} if is_unauthorized else {},
        sats=_sats(error),
    )


def _sats(error: LucidError) -> dict[str, int]:
    if not isinstance(error, PaymentRequired):
        return {}
    return {"requiredSats": error.needed_sats, "availableSats": error.available_sats}


def _from_http(error: HTTPException) -> Problem:
    status = error.code or 500
    code, message = HTTP_FAULTS.get(status, HTTP_FAULTS[400])
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return Problem(status, code, message, headers=headers)


def _gateway(problem: Problem) -> dict[str, Any]:
    code = problem.code.upper()
    body = {"success": False, "error": code, "message": problem.message, "error_code": code}
    details = {"details": problem.details} if problem.details else {}
    return {**body, **details, "request_id": request_id()}


def _verification(problem: Problem) -> dict[str, Any]:
    """Return the pipelines contract's error: its codes say no more than its statuses where it has but one for them."""
    code, message = problem.code, problem.message
    if problem.status == HTTPStatus.UNAUTHORIZED:
        code = HTTP_FAULTS[401][0]
    elif problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        wanted = [name for name in problem.headers.get("Allow", "").split(", ") if name not in _IMPLIED]
        message = f"Method not allowed. Use {' or '.join(wanted)}."
    elif problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and code not in FAULTS_OF_OURS:
        code = INTERNAL[0]
    return {"error": {"code": code, "message": message}, "request_id": request_id()}


def _agent(problem: Problem) -> dict[str, Any]:
    return {"error": problem.message, "code": problem.code, **problem.sats, "request_id": request_id()}


def _openai(problem: Problem) -> dict[str, Any]:
    """Return OpenAI's error: `type` and `code` as their clients look for them, `param` as the caller wrote it."""
    kind, code = OPENAI_NAMES.get(problem.status, ("invalid_request_error", None))
    more = {name: value for name, value in problem.details.items() if name != "field"}
    error = {
        "message": problem.message,
        "type": "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else kind,
        "param": problem.details.get("field"),
        "code": code or problem.code.lower(),
    }
    return {"error": {**error, "details": more} if more else error}


SHAPES: dict[Door, Callable[[Problem], dict[str, Any]]] = {
    Door.GATEWAY: _gateway,
    Door.OPENAI: _openai,
    Door.VERIFICATION: _verification,
    Door.AGENT: _agent,
}


def _rfc9457(problem: Problem) -> dict[str, Any]:
    return {
        "type": f"/docs#error-{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.message,
        "instance": f"urn:request:{request_id()}",
        "code": problem.code,
        **problem.details,
        **problem.sats,
    }


def _respond(problem: Problem, body: dict[str, Any], media_type: str) -> Response:
    response = current_app.response_class(current_app.json.dumps(body) + "\n", mimetype=media_type)
    response.status_code = problem.status
    return response


def _wants_problem_json(asked: Request) -> bool:
    return any(name.lower() == PROBLEM_JSON and quality > 0 for name, quality in asked.accept_mimetypes)
