"""Forward: code in, claims that were run out."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from shared.source.languages import canonical
from shared.verification.items import Submitted
from shared.verification.model import VerificationView
from web.auth import principal
from web.context import container
from web.door import Answers, Operations
from web.idempotency import key_claim
from web.pipelines.addresses import BASE
from web.pipelines.asking import answer_to, plainly, require_within
from web.pipelines.guards import ASKER
from web.pipelines.run_schemas import RunSchema
from web.pipelines.sarif import SARIF, as_sarif
from web.pipelines.schemas import ForwardRequestSchema, ForwardResponseSchema
from web.prefer import DESCRIBED

operations = Operations("Forward", __name__, description="Code that is verified", url_prefix=BASE)


@operations.post(
    "/forward",
    "forward",
    Answers(ForwardResponseSchema, errors=(400, 500), also={202: RunSchema}, alternatives=(SARIF,)),
    body=ForwardRequestSchema,
    guard=ASKER,
    headers=DESCRIBED,
)
def verify_code(body: dict[str, Any]) -> Response:
    """Verify code: claims, what came of running them, and what to do about those that do not hold

    Waits for the result; with `Prefer: respond-async` there is an address to look at instead. With `Accept: application/sarif+json` the
    result is a SARIF log.
    """
    settings = container().settings
    require_within(body["code"], field="code", most=settings.max_code_chars)
    require_within(body.get("context"), field="context", most=settings.max_context_chars)
    submitted = Submitted(body["code"], canonical(body["language"]), body.get("context"))
    run = container().verifications.forward(
        submitted, principal=principal(), body=request.get_data(cache=True), claim=key_claim()
    )
    return answer_to(run, shape=_sarif if _wants_sarif() else plainly)


def _wants_sarif() -> bool:
    return request.accept_mimetypes.best_match(["application/json", SARIF]) == SARIF  # of equals the first


def _sarif(view: VerificationView, _result: dict[str, Any]) -> Response:
    return as_sarif(view)
