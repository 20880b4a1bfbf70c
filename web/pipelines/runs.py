"""Runs of the pipelines: a tenant's list, one of them, its progress as it comes, its end by hand, its going on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from flask import Response, current_app, jsonify, request

from shared.verification.model import Verification, VerificationState, VerificationView
from shared.verification.service import Verifications
from web import events
from web.auth import principal
from web.context import container
from web.door import Answers, Operations
from web.events import Connection
from web.idempotency import keep_no_answer, key_claim
from web.pipelines.addresses import BASE
from web.pipelines.asking import LOOK_EVERY_S, address_of, headers_of
from web.pipelines.guards import ASKER, OWNER
from web.pipelines.run_schemas import RunListSchema, RunPageSchema, RunSchema
from web.pipelines.sarif import SARIF, as_sarif
from web.pipelines.views import failure_of, progress_shown, run_shown

operations = Operations("Verifications", __name__, description="Runs of the pipelines", url_prefix=BASE)

Encoder = Callable[[object], str]


@operations.get("/runs", "listRuns", Answers(RunListSchema, errors=(404, 500)), query=RunPageSchema, guard=OWNER)
def list_runs(query: dict[str, Any]) -> dict[str, Any]:
    """List your runs, newest first, without their results"""
    most = query["limit"]
    found = container().verifications.listing(tenant=principal().tenant, before=query.get("before"), most=most)
    shown: dict[str, Any] = {"runs": [run_shown(view, is_whole=False) for view in found]}
    return {**shown, "next_before": found[-1].verification.request_id} if len(found) == most else shown


@operations.get("/runs/<run_id>", "getRun", Answers(RunSchema, errors=(404, 500)), guard=OWNER)
def get_run(run_id: str) -> dict[str, Any]:
    """Get a run as it stands: its stages, its result once it is complete, and what opens its receipt's commitments"""
    return run_shown(container().verifications.get(run_id, tenant=principal().tenant), is_whole=True)


@operations.get(
    "/runs/<run_id>/sarif",
    "getSarif",
    Answers(None, errors=(404, 409, 500), media_type=SARIF),
    guard=OWNER,
)
def get_sarif(run_id: str) -> Response:
    """Get the findings of a complete run as a SARIF 2.1.0 log"""
    return as_sarif(container().verifications.get(run_id, tenant=principal().tenant))


@operations.get(
    "/runs/<run_id>/events",
    "watchRun",
    Answers(None, errors=(400, 404, 500), media_type=events.MEDIA_TYPE),
    guard=OWNER,
)
def watch_run(run_id: str) -> Response:
    """Follow a run as server-sent events, resumed behind `Last-Event-ID`: its moves, and its stages as they start and end

    The last one is `[DONE]`, or an error.
    """
    run = container().verifications.get(run_id, tenant=principal().tenant).verification
    pieces = _pieces(container().verifications, run, after=events.resumed_after(), encode=current_app.json.dumps)
    connection = Connection(request)
    response = events.answer(pieces, connection=connection, clock=container().clock, on_leave=lambda: None)
    response.headers.update(headers_of(run))
    return response


@operations.post("/runs/<run_id>/cancel", "cancelRun", Answers(RunSchema, errors=(404, 500)), guard=OWNER)
def cancel_run(run_id: str) -> Response:
    """End a run; one that has ended stays as it is

    The answer shows it as it then is: `cancelled`, or still `running` where its worker has yet to let go.
    """
    view = container().verifications.cancel(run_id, principal=principal())
    if not view.verification.has_ended:
        keep_no_answer()
    response = jsonify(run_shown(view, is_whole=True))
    response.headers.update(headers_of(view.verification))
    return response


@operations.post("/runs/<run_id>/resume", "resumeRun", Answers(RunSchema, 202, errors=(404, 500)), guard=ASKER)
def resume_run(run_id: str) -> Response:
    """Have a failed run go on at the stage that failed; it takes a verification of the month again"""
    return address_of(container().verifications.resume(run_id, principal=principal(), claim=key_claim()))


# What sends is outside of any request's context: it gets its parts.


def _pieces(verifications: Verifications, run: Verification, *, after: int, encode: Encoder) -> Generator[bytes | None]:
    """Yield the moves up to the end. One that failed may be taken up again in between: then its moves go on."""
    while True:
        with closing(verifications.moves(run, after=after, idle_s=LOOK_EVERY_S)) as moves:
            for progress in moves:
                if progress is None:
                    yield None
                    continue
                after = progress.seq
                yield events.named(progress.name, progress.seq, encode(progress_shown(run, progress)))
        view = verifications.get(run.request_id, tenant=run.tenant)
        if view.verification.has_ended:
            yield _end(view, encode)
            return


def _end(view: VerificationView, encode: Encoder) -> bytes:
    if view.verification.state is VerificationState.COMPLETE:
        return events.DONE
    problem = failure_of(view)
    told = {"error": {"code": problem.code, "message": problem.message}, "request_id": view.verification.request_id}
    return f"data: {encode(told)}\n\n".encode()
