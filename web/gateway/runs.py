"""Runs: an owner's list, one of them, its events as they come, its end by hand."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from flask import Response, current_app, request

from shared.access.model import Scope
from shared.inference.model import Run, RunState, RunView
from shared.inference.service import Runs
from shared.kernel.errors import Gone, InvalidInput
from web import events
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations
from web.events import Connection
from web.gateway.asking import LOOK_EVERY_S, stream_of
from web.gateway.inference_schemas import RunListSchema, RunPageSchema, RunResponseSchema
from web.gateway.run_access import own_run
from web.gateway.run_views import failure_of, moved_shown, run_shown

operations = Operations("Runs", __name__, description="Inference runs, whoever waits for them")

Encoder = Callable[[object], str]

_WITH_A_KEY = caller(Scope.INFERENCE, anonymous=False)
_ITS_OWNER = caller(Scope.INFERENCE, anonymous=True)


@operations.get(
    "/v1/runs",
    "lucid_list_runs",
    Answers(RunListSchema, errors=(404, 500, 503)),
    query=RunPageSchema,
    guard=_WITH_A_KEY,
)
def list_runs(query: dict[str, Any]) -> dict[str, Any]:
    """List your runs, newest first, without their answers"""
    most = query["limit"]
    found = container().runs.listing(tenant=principal().tenant, before=query.get("before"), most=most)
    shown: dict[str, Any] = {"success": True, "runs": [run_shown(view, is_whole=False) for view in found]}
    return {**shown, "next_before": found[-1].run.run_id} if len(found) == most else shown


@operations.get(
    "/v1/runs/<run_id>", "lucid_get_run", Answers(RunResponseSchema, errors=(404, 500, 503)), guard=_ITS_OWNER
)
def get_run(run_id: str) -> dict[str, Any]:
    """Get a run as it stands, with its answer and what opens its receipt's commitments

    A run made without a key is opened by the `token` of the address that its maker was told.
    """
    return {"success": True, "run": run_shown(own_run(run_id), is_whole=True)}


@operations.get(
    "/v1/runs/<run_id>/events",
    "lucid_watch_run",
    Answers(None, errors=(400, 404, 410, 500, 503), media_type="text/event-stream"),
    guard=_ITS_OWNER,
)
def watch_run(run_id: str) -> Response:
    """Follow a run as server-sent events, resumed behind `Last-Event-ID`

    Of a stream: its exact events, from the first where nothing is said. Of any other run: its moves. The last is `[DONE]`, or an error.
    """
    view = own_run(run_id)
    if view.run.streamed and view.run.forgotten_at is not None:
        raise Gone("what this run sent is not kept any more", code="RUN_FORGOTTEN")
    after, connection = events.resumed_after(), Connection(request)
    if view.run.streamed:
        pieces = _frames(container().runs, view.run, after=after)
        first = next(pieces, b"")
        if first == b"":
            raise InvalidInput("nothing comes after that event", field=events.RESUMES_AFTER)
        return stream_of(view.run, _from(first, pieces), connection)
    moves = _moves(container().runs, view.run, after=after, encode=current_app.json.dumps)
    return stream_of(view.run, moves, connection)


@operations.post(
    "/v1/runs/<run_id>/cancel",
    "lucid_cancel_run",
    Answers(RunResponseSchema, errors=(400, 404, 500, 503)),
    guard=_ITS_OWNER,
)
def cancel_run(run_id: str) -> dict[str, Any]:
    """End a run; one that has ended stays as it is

    The answer shows it as it then is: `cancelled`, or still `running` where its worker has yet to let go.
    """
    view = own_run(run_id)
    ended = container().runs.cancel(run_id, tenant=view.run.tenant)
    return {"success": True, "run": run_shown(ended, is_whole=True)}


# What sends is outside of any request's context: it gets its parts.


def _frames(runs: Runs, run: Run, *, after: int) -> Generator[bytes | None]:
    with closing(runs.frames(run, after=after, idle_s=LOOK_EVERY_S)) as frames:
        for frame in frames:
            yield None if frame is None else frame.wire


def _from(first: bytes | None, pieces: Generator[bytes | None]) -> Generator[bytes | None]:
    with closing(pieces):
        yield first
        yield from pieces


def _moves(runs: Runs, run: Run, *, after: int, encode: Encoder) -> Generator[bytes | None]:
    """Yield a run's moves as events of their own, and its end as every stream's."""
    with closing(runs.moves(run, after=after, idle_s=LOOK_EVERY_S)) as moves:
        for moved in moves:
            yield None if moved is None else events.named(moved.event, moved.seq, encode(moved_shown(run, moved)))
    view = runs.get(run.run_id, tenant=run.tenant)
    yield _end(view, encode)


def _end(view: RunView, encode: Encoder) -> bytes:
    if view.end is None or view.run.state is RunState.COMPLETE:
        return events.DONE
    problem, _ = failure_of(view, view.end)
    told = {"error": problem.message, "error_code": problem.code, "run_id": view.run.run_id}
    return f"data: {encode({**told, 'receipt_id': view.receipt_id})}\n\n".encode()
