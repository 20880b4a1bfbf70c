"""What a tenant has used this month."""

from __future__ import annotations

from typing import Any

from shared.access.plans import plan_of
from web.auth import principal
from web.context import container, request_id
from web.door import Answers, Operations
from web.pipelines.addresses import BASE
from web.pipelines.guards import OWNER
from web.pipelines.moments import moment
from web.pipelines.plan_schemas import AccountUsageSchema
from web.pipelines.plans import paid_plan_shown

operations = Operations("Usage", __name__, description="What a month has used", url_prefix=BASE)


@operations.get("/usage", "getUsage", Answers(AccountUsageSchema), guard=OWNER)
def get_usage() -> dict[str, Any]:
    """Get what your tenant has used this month (UTC), and what is left

    Forward and reverse draw on one pool. A verification that the service failed at is given back. Test keys have figures of their own.
    """
    holder = principal()
    standing = container().quotas.standing(holder)
    paid = container().plans.paid_plans(holder.tenant)
    return {
        "request_id": request_id(),
        "period": standing.period,
        "mode": str(holder.mode),
        "tier": str(holder.tier),
        "requests_per_minute": plan_of(holder.tier).per_minute,
        "verifications": {
            "limit": standing.limit,
            "used": standing.used,
            "remaining": standing.remaining,
            "resets_at": moment(standing.resets_at),
        },
        "forward": {"count": standing.forward, "limit": standing.limit},
        "reverse": {"count": standing.reverse, "limit": standing.limit},
        "total_input_tokens": standing.tokens_in,
        "total_output_tokens": standing.tokens_out,
        "paid_plans": [paid_plan_shown(plan) for plan in paid],
    }
