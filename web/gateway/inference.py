"""Inference under a policy, in the gateway contract's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from shared.access.model import Scope
from shared.inference.model import Surface
from shared.kernel.errors import NotFound, Unprocessable
from web.auth import caller, principal
from web.context import container
from web.door import Answers, Operations
from web.gateway.asking import answer_to, asked
from web.gateway.inference_schemas import (
    DEFAULTS,
    FailedRunSchema,
    InferenceRequestSchema,
    InferenceResultSchema,
    RunResponseSchema,
)

operations = Operations("Run", __name__, description="Inference under a policy, with a receipt for every outcome")

RUNS_MODELS = caller(Scope.INFERENCE, anonymous=True)

_OPTIONS = ("max_tokens", "temperature", "top_p", "top_k", "stop")
_PREFIX = "passport:"


@operations.post(
    "/v1/run/inference",
    "lucid_run_inference",
    Answers(
        InferenceResultSchema,
        errors=(400, 500),
        also={202: RunResponseSchema, 410: FailedRunSchema, 503: FailedRunSchema},
        streams=True,
    ),
    body=InferenceRequestSchema,
    guard=RUNS_MODELS,
)
def run_inference(body: dict[str, Any]) -> Response:
    """Ask a model, under a policy

    Waits for the answer; with `stream` it comes as server-sent events, and with `Prefer: respond-async` there is an address to look at
    instead. Every outcome leaves a receipt, whose id is the run's.
    """
    options = {**DEFAULTS, **{name: body[name] for name in _OPTIONS if name in body}}
    return answer_to(asked(Surface.INFERENCE, body, model=_model_of(body), options=options))


def _model_of(body: Mapping[str, Any]) -> str:
    """Return the one model that is meant. Raises `Unprocessable` where the two members name two."""
    named = [body[name] for name in ("model_passport_id", "model") if name in body]
    if len({name.removeprefix(_PREFIX) for name in named}) > 1 and len(set(map(_passport_of, named))) > 1:
        raise Unprocessable("model: is another than model_passport_id names", field="model")
    return str(named[-1])


def _passport_of(reference: str) -> str | None:
    caller_ = principal()
    try:
        found = container().catalog.model(tenant=caller_.tenant, mode=caller_.mode, reference=reference)
    except NotFound:
        return None
    return found.passport_id
