"""Reverse: a task in, code out that was held against its specifications."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from shared.source.languages import canonical
from shared.verification.items import Task
from web.auth import principal
from web.context import container
from web.door import Answers, Operations
from web.idempotency import key_claim
from web.pipelines.addresses import BASE
from web.pipelines.asking import answer_to, require_within
from web.pipelines.guards import ASKER
from web.pipelines.run_schemas import RunSchema
from web.pipelines.schemas import ReverseRequestSchema, ReverseResponseSchema
from web.prefer import DESCRIBED

operations = Operations(
    "Reverse", __name__, description="Code that is written for a task, and verified", url_prefix=BASE
)


@operations.post(
    "/reverse",
    "reverse",
    Answers(ReverseResponseSchema, errors=(400, 500), also={202: RunSchema}),
    body=ReverseRequestSchema,
    guard=ASKER,
    headers=DESCRIBED,
)
def generate_code(body: dict[str, Any]) -> Response:
    """Generate code for a task: specifications, constraints, code, and what came of running it against them

    Code that fails a specification is repaired within bounds, and every attempt kept. Waits for the result; with
    `Prefer: respond-async` there is an address to look at instead.
    """
    settings = container().settings
    require_within(body["task"], field="task", most=settings.max_task_chars)
    require_within(body.get("context"), field="context", most=settings.max_context_chars)
    task = Task(body["task"], canonical(body["language"]), body.get("context"))
    run = container().verifications.reverse(
        task, principal=principal(), body=request.get_data(cache=True), claim=key_claim()
    )
    return answer_to(run)
