"""Who may call the pipelines, and how often: a key's plan counts what is asked of a pipeline, a limit of its own all other calls."""

from __future__ import annotations

import re
from dataclasses import replace

from flask import request

from shared.access.model import Principal, Scope
from shared.access.plans import plan_of
from shared.kernel.errors import Unauthorized
from web.auth import ADMIN_HEADER, caller
from web.door import Guard
from web.limits import Quota

MISSING = "Missing or invalid Authorization header. Use: Bearer lk_live_..."
MALFORMED = "Invalid API key format. Keys start with lk_live_ or lk_test_"
UNKNOWN = "Invalid or inactive API key"
_BEARER = re.compile(r" {0,8}bearer {1,8}([!-~]+) {0,8}", re.IGNORECASE | re.ASCII)
_PREFIXES = ("lk_live_", "lk_test_")


def _in_the_contracts_words(guard: Guard) -> Guard:
    """Return `guard` with this door's words for a credential that is not there, or no good."""

    def admit(**parameters: str) -> str:
        try:
            return guard.admit(**parameters)
        except Unauthorized as refusal:
            if ADMIN_HEADER in request.headers:
                raise Unauthorized(refusal.message) from None
            raise Unauthorized(_fault_of(request.headers.get("Authorization", ""))) from None

    return replace(guard, admit=admit)


def _fault_of(header: str) -> str:
    shown = _BEARER.fullmatch(header)
    if shown is None:
        return MISSING
    return UNKNOWN if shown[1].startswith(_PREFIXES) else MALFORMED


def _of_the_plan(principal: Principal) -> Quota:
    plan = plan_of(principal.tier)
    refusal = f"Rate limit exceeded. {plan.per_minute} requests/minute for {plan.name} tier."
    return Quota("plan", plan.per_minute, refusal)


ASKER = _in_the_contracts_words(caller(Scope.VERIFICATION, anonymous=False, quota_of=_of_the_plan))
"""Of what a plan counts: a call of a pipeline, whatever becomes of it."""

OWNER = _in_the_contracts_words(caller(Scope.VERIFICATION, anonymous=False))
"""Of everything else: looking, waiting, ending, administering."""
