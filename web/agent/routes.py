"""The paid agent's addresses."""

from __future__ import annotations

from typing import Any

from shared.agent.model import JobView
from web.agent.schemas import (
    CreateJobRequestSchema,
    CreateJobResponseSchema,
    HealthStatusSchema,
    JobStatusResponseSchema,
)
from web.agent.views import job_created, job_status
from web.context import container
from web.door import Answers, Operations
from web.idempotency import caller_address, key_claim

health = Operations("health", __name__, description="Health operations", url_prefix="/api")
jobs = Operations("jobs", __name__, description="Payment-gated agent jobs, paid one by one", url_prefix="/api")


@health.get("/healthz", "healthCheck", Answers(HealthStatusSchema, errors=()))
def health_check() -> dict[str, str]:
    """Tell whether the process answers"""
    return {"status": "ok"}


@jobs.post("/jobs", "createJob", Answers(CreateJobResponseSchema, 201, (400, 429, 500)), body=CreateJobRequestSchema)
def create_job(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Create a job and its evaluation invoice

    The invoice is ready to pay. Past the deadline the answer is 500 with Retry-After, and nothing was created that could be paid.
    """
    view: JobView = container().jobs.create(body["request"], address=caller_address(), claim=key_claim())
    token = container().claims.token(view.job.public_id)
    return job_created(view, claim_token=token), 201, {"Location": f"/api/jobs/{view.job.public_id}"}


@jobs.get("/jobs/<id>", "getJob", Answers(JobStatusResponseSchema, errors=(404, 500)))
def get_job(id: str) -> dict[str, Any]:  # noqa: A002 - the contract's parameter
    """Get a job as it stands

    A job moves by itself; asking about one that waits for a payment has the node asked at once.
    """
    return job_status(container().jobs.get(id))
