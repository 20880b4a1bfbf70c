"""From a request for a pipeline to its answer: made, then waited for, or left to itself. Both pipelines answer through here.

A caller for whom the wait grows too long gets 202 with the address of the run, asked for or not: the contract has a 500 repeated, and
without an Idempotency-Key that would be another run, and another verification.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from flask import Response, jsonify, request

from shared.kernel.errors import InvalidInput, Unavailable
from shared.verification.model import Verification, VerificationView
from web import events, problems
from web.context import container
from web.events import Connection
from web.idempotency import keep_no_answer
from web.pipelines.addresses import BASE
from web.pipelines.views import failure_of, result_shown, run_shown
from web.prefer import APPLIED, prefers_async
from web.problems import Problem

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
"""How soon a caller's going is noticed while nothing comes for him."""
RETRY_AFTER_S = 5
STILL_RUNNING = "still_running"

Shape = Callable[[VerificationView, dict[str, Any]], Response]
"""From a complete run and its result to the answer."""


def plainly(_view: VerificationView, result: dict[str, Any]) -> Response:
    """Answer with the result as JSON."""
    return jsonify(result)


def require_within(text: str | None, *, field: str, most: int) -> None:
    """Raise `InvalidInput` for text of more than `most` characters."""
    if text is not None and len(text) > most:
        message = f"Field {field} has {len(text)} characters, above the limit of {most}"
        raise InvalidInput(message, field=field)


def answer_to(run: Verification, *, shape: Shape = plainly) -> Response:
    """Answer about a run that was just made, as its caller wishes: with its address, or with its end."""
    return address_of(run) if prefers_async() else _surely(run, lambda: _awaited(run, shape))


def address_of(run: Verification) -> Response:
    """Answer about a run that was just taken up with its address, whatever its caller prefers."""
    return _surely(run, lambda: placed(container().verifications.get(run.request_id, tenant=run.tenant)))


def _surely(run: Verification, answer: Callable[[], Response]) -> Response:
    try:
        return answer()
    except Unavailable as error:  # the run is there and goes on: a caller who asked anew would pay for two
        log.warning("verification_not_watched", verification=run.id, error=error.code)
        return _still_running(run)


def placed(view: VerificationView) -> Response:
    """Return 202: the run as it stands, and where to look at it. A repetition under its key is told how it stands then."""
    keep_no_answer()
    response = jsonify(run_shown(view, is_whole=True))
    response.status_code = 202
    response.headers.update({**headers_of(view.verification), **(APPLIED if prefers_async() else {})})
    return response


def headers_of(run: Verification) -> dict[str, str]:
    """Return what every answer about a run carries."""
    return {"Location": f"{BASE}/runs/{run.request_id}", "X-Run-ID": run.request_id}


def refused(view: VerificationView) -> Response:
    """Return why a run that has ended has no result; its id stands where a request's would."""
    run = view.verification
    response = problems.response_to(failure_of(view), members={"request_id": run.request_id})
    response.headers.update(headers_of(run))
    return response


def _awaited(run: Verification, shape: Shape) -> Response:
    clock, connection = container().clock, Connection(request)
    until = clock.monotonic() + container().settings.sync_wait_s
    while True:
        left_s = until - clock.monotonic()
        if container().verifications.await_end(run, wait_s=max(0.0, min(left_s, LOOK_EVERY_S))):
            view = container().verifications.get(run.request_id, tenant=run.tenant)
            if view.verification.has_ended:
                return _ended(view, shape)
        if connection.is_gone():  # the run goes on, and can be looked at
            return Response(status=events.GONE)
        if left_s <= 0:
            return placed(container().verifications.get(run.request_id, tenant=run.tenant))


def _ended(view: VerificationView, shape: Shape) -> Response:
    result = result_shown(view)
    if result is None:
        return refused(view)
    response = shape(view, result)
    response.headers.update(headers_of(view.verification))
    return response


def _still_running(run: Verification) -> Response:
    """Return what can be said of a run while the database is away."""
    message = "the run goes on; look at it at Location, or repeat the request with the same Idempotency-Key"
    problem = Problem(500, STILL_RUNNING, message, retry_after_s=RETRY_AFTER_S, headers=headers_of(run))
    return problems.response_to(problem, members={"request_id": run.request_id})
