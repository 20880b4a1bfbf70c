"""The free demo's address."""

from __future__ import annotations

from web.agent.schemas import DemoResponseSchema, RequestQuerySchema
from web.context import container
from web.door import Answers, Operations
from web.idempotency import caller_address

operations = Operations("demo", __name__, description="Free, and rarely", url_prefix="/api")


@operations.get("/demo", "runDemo", Answers(DemoResponseSchema, errors=(400, 429, 500)), query=RequestQuerySchema)
def run_demo(query: dict[str, str]) -> dict[str, str]:
    """Have the agent do something for nothing

    A few calls an hour from one address. The request is judged as a paid one is: a refusal is a 400 with the reason, and counts.
    Longer requests than an address line can hold need a job.
    """
    return {"result": container().demos.run(query["request"], address=caller_address())}
