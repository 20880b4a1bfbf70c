"""From a request for inference to its answer: made, then waited for, streamed, or left to itself. Both addresses answer through here."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import structlog
from flask import Response, jsonify, request

from shared.idempotency.model import KeyInUse
from shared.inference.model import Ask, Frame, Run, RunState, RunView, Surface
from shared.kernel.errors import DeadlinePassed, LucidError, Unavailable
from web import events, problems
from web.auth import principal
from web.context import container
from web.events import Connection
from web.gateway.run_access import address_of
from web.gateway.run_views import completion_shown, failure_of, result_shown, run_shown
from web.idempotency import keep_no_answer, key_claim
from web.prefer import APPLIED, prefers_async

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
"""How soon a caller's going is noticed while nothing comes for him."""
STILL_RUNNING = "still_running"
RETRY_AFTER_S = 2
OF_THE_STATE = frozenset({"MODEL_NOT_FOUND", "NO_COMPATIBLE_COMPUTE"})
"""Refusals that the same request need not meet again: no answer is kept under its key."""
STATUSES: Mapping[Surface, Mapping[str, int]] = {
    Surface.INFERENCE: {},
    Surface.CHAT: {"VALIDATION_ERROR": 400, "INVALID_POLICY": 400, "MODEL_NOT_FOUND": 404},
}
"""What an address calls a refusal where that is not the tree's own status."""

Pieces = Generator[Frame | None]


def answer_to(ask: Ask) -> Response:
    """Make the run and answer as the caller wishes: with its address, its stream or its end."""
    try:
        run = _made(ask)
    except LucidError as error:
        if error.code in OF_THE_STATE:
            keep_no_answer()
        return problems.answer(error, status=STATUSES[ask.surface].get(error.code))
    try:
        if prefers_async():
            return _placed(run)
        return _streamed(run) if run.streamed else _awaited(run)
    except Unavailable as error:  # the run is there and goes on: a caller who asked anew would have it twice
        log.warning("run_not_watched", run=run.id, error=error.code)
        return _still_running(run)


def asked(surface: Surface, body: Mapping[str, Any], *, model: str, options: Mapping[str, Any]) -> Ask:
    """Return what both addresses ask for in the same words. `options` go to the model by their own names."""
    return Ask(
        surface=surface,
        model=model,
        messages=body.get("messages") or [{"role": "user", "content": body["prompt"]}],
        options=options,
        stream=body.get("stream", False),
        include_usage=body.get("stream_options", {}).get("include_usage", False),
        detached=prefers_async(),
        policy=body.get("policy"),
        compute_passport_id=body.get("compute_passport_id"),
        request_id=body.get("request_id"),
        trace_id=body.get("trace_id"),
        project=body.get("project_id"),
    )


def leave(run: Run) -> None:
    """Note that the caller of a run has gone. Whoever sent an Idempotency-Key means to come back for it."""
    if key_claim() is None:
        container().runs.disconnect(run)


def headers_of(run: Run, view: RunView | None = None) -> dict[str, str]:
    """Return what every answer about a run carries. The node is the one that did it, before that the chosen one."""
    node = (
        view.end.compute_passport_id if view and view.end else run.compute_passport_id or run.plan.nodes[0].passport_id
    )
    return {"X-Run-ID": run.run_id, "X-Model-Passport-ID": run.model_passport_id, "X-Compute-Passport-ID": node}


def ended(view: RunView) -> Response:
    """Return the answer to whoever waited for a run that has ended."""
    run, end = view.run, view.end
    assert end is not None  # noqa: S101 - the caller has seen it
    if run.state is RunState.COMPLETE:
        shown = completion_shown(view, end) if run.surface is Surface.CHAT else result_shown(view, end)
        response = jsonify(shown)
    else:
        problem, members = failure_of(view, end)
        response = problems.response_to(problem, members=members)
    response.headers.update(headers_of(run, view))
    return response


def _made(ask: Ask) -> Run:
    claim = key_claim()
    body = request.get_data(cache=True)
    run = container().runs.create(ask, principal=principal(), body=body, claim=claim)
    told = {"request_id": ask.request_id, "trace_id": ask.trace_id}
    log.info("run_asked", run=run.id, **{name: value for name, value in told.items() if value is not None})
    return run


def _placed(run: Run) -> Response:
    view = container().runs.get(run.run_id, tenant=run.tenant)
    response = jsonify({"success": True, "run": run_shown(view, is_whole=True)})
    response.status_code = 202
    response.headers.update({"Location": address_of(run), **APPLIED, **headers_of(run, view)})
    return response


def _awaited(run: Run) -> Response:
    clock, connection = container().clock, Connection(request)
    until = clock.monotonic() + container().settings.sync_wait_s
    while True:
        left_s = until - clock.monotonic()
        view = container().runs.wait(run, wait_s=max(0.0, min(left_s, LOOK_EVERY_S)))
        if view.end is not None:
            return ended(view)
        if connection.is_gone():
            return _to_nobody(run)
        if left_s <= 0:
            return _still_running(run)


def _streamed(run: Run) -> Response:
    """Answer with the run's events; the status line waits for the first, so that what fails before it has a status of its own."""
    claim = key_claim()
    if claim is not None and claim.made is not None and not container().runs.get(run.run_id, tenant=run.tenant).end:
        raise KeyInUse("the run of this idempotency key still streams", retry_after_s=RETRY_AFTER_S)
    connection = Connection(request)
    frames = container().runs.frames(run, idle_s=LOOK_EVERY_S)
    first = _first(frames, connection)
    if first is None or first.is_fault:
        frames.close()
    if first is None:
        return _to_nobody(run) if connection.is_gone() else _still_running(run)
    if first.is_fault:
        return ended(container().runs.get(run.run_id, tenant=run.tenant))
    if len(run.plan.nodes) > 1:  # by its first token it is known which of them answers
        run = container().runs.get(run.run_id, tenant=run.tenant).run
    return stream_of(run, _wire(first, frames), connection)


def stream_of(run: Run, pieces: Generator[bytes | None], connection: Connection) -> Response:
    """Return the response that sends a run's events to the present caller."""
    keeps_on = key_claim() is not None
    runs = container().runs
    response = events.answer(
        pieces,
        connection=connection,
        clock=container().clock,
        on_leave=lambda: None if keeps_on else runs.disconnect(run),
    )
    response.headers.update(headers_of(run))
    return response


def _first(frames: Pieces, connection: Connection) -> Frame | None:
    """Return the first event; None where the caller has gone before it, or has waited too long."""
    clock = container().clock
    until = clock.monotonic() + container().settings.sync_wait_s
    for frame in frames:
        if frame is not None:
            return frame
        if connection.is_gone() or clock.monotonic() >= until:
            return None
    return None


def _wire(first: Frame, frames: Pieces) -> Generator[bytes | None]:
    with closing(frames):
        yield first.wire
        for frame in frames:
            yield None if frame is None else frame.wire


def _still_running(run: Run) -> Response:
    """Say where to look. The official clients would ask anew for a 503, and so run it twice: they heed the last header."""
    message = f"the run goes on; look at {address_of(run)}, or repeat the request with its Idempotency-Key"
    response = problems.answer(DeadlinePassed(message, retry_after_s=RETRY_AFTER_S, code=STILL_RUNNING))
    response.headers.update({"Location": address_of(run), "x-should-retry": "false", **headers_of(run)})
    return response


def _to_nobody(run: Run) -> Response:
    leave(run)
    return Response(status=events.GONE)
