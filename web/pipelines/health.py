"""Health of the door: whether the process answers. What it stands on is told at `/health` and `/health/ready`."""

from __future__ import annotations

from web.context import container, request_id
from web.door import Answers, Operations
from web.gateway.health import running_version
from web.pipelines.addresses import BASE
from web.pipelines.schemas import HealthSchema

operations = Operations("Service", __name__, description="Whether the service answers", url_prefix=BASE)


@operations.get("/health", "getHealth", Answers(HealthSchema, errors=()))
def check_health() -> dict[str, str]:
    """Tell whether the process answers; asks no other part"""
    return {
        "status": "ok",
        "version": running_version(),
        "timestamp": container().clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "request_id": request_id(),
    }
