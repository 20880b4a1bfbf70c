"""Findings as SARIF, for whoever reads them with the tools of a code host."""

from __future__ import annotations

from flask import Response, current_app

from shared.kernel.errors import Conflict
from shared.verification.model import Pipeline, VerificationState, VerificationView
from shared.verification.sarif import sarif_log
from web.gateway.health import running_version
from web.pipelines.views import ERASED, ERASED_MESSAGE

SARIF = "application/sarif+json"


def as_sarif(view: VerificationView) -> Response:
    """Return a complete forward run as a SARIF 2.1.0 log. Raises `Conflict` for any other."""
    run = view.verification
    if run.pipeline is not Pipeline.FORWARD:
        raise Conflict("only runs of the forward pipeline have findings", code="no_findings")
    if run.state is not VerificationState.COMPLETE:
        raise Conflict(f"this run has no findings to show: it is {run.state}", code="not_complete")
    if view.submitted is None or view.forward is None:
        raise Conflict(ERASED_MESSAGE, code=ERASED)
    log = sarif_log(view, version=running_version())
    return Response(current_app.json.dumps(log) + "\n", mimetype=SARIF)
