"""Who calls the gateway: an API key, the operator's admin key, or nobody where the operator allows that (`docs/decisions/0014`).

Refusals come in this order: 401, 403, 429, and only then whatever is wrong with the request itself.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import cast

from flask import g, request

from shared.access.model import ANONYMOUS, OPERATOR, Mode, Principal, Scope, Tier
from shared.kernel.derive import derive
from shared.kernel.errors import Forbidden, Unauthorized
from web import limits
from web.context import container
from web.door import Guard
from web.idempotency import caller_address
from web.limits import Quota

BEARER, ADMIN = "BearerAuth", "AdminAuth"
ADMIN_HEADER = "X-Admin-Key"
SECURITY_SCHEMES = {
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `lk_live_…`, or `lk_test_…` whose calls run on the simulated model and cost nothing.",
    },
    ADMIN: {
        "type": "apiKey",
        "in": "header",
        "name": ADMIN_HEADER,
        "description": "The operator's own key (the setting ADMIN_KEY). It opens every operation that takes an API key.",
    },
}
REFUSALS = (401, 403, 429)
"""What every operation with a guard may answer besides its own."""

_BEARER = re.compile(r" {0,8}bearer {1,8}(lk_[a-z]{4}_[0-9a-f]{64}) {0,8}", re.IGNORECASE | re.ASCII)
_INVALID_KEY = "invalid_api_key"


def caller(*scopes: Scope, anonymous: bool, quota_of: Callable[[Principal], Quota] | None = None) -> Guard:
    """Return the guard of operations that any of `scopes` opens; `anonymous`: without a key too, where ANONYMOUS_CALLS is set.

    It counts the call against its caller's limit, which `quota_of` may tell from the caller. The Idempotency-Keys of a key's calls
    belong to its tenant and mode, those of calls without one to their address.
    """

    def admit(**_: str) -> str:
        quota = _quota_of_keys()
        if quota_of is None:
            limits.offer(quota)
        found = _identified(anonymous=anonymous)
        if found.is_anonymous:
            quota = Quota("address", container().settings.anonymous_per_minute)
        elif quota_of is not None:
            quota = quota_of(found)
        g.principal = found
        if found.scopes.isdisjoint(scopes):
            limits.tell_standing(_counted_as(found), quota)
            raise Forbidden(f"this key does not have the scope {' or '.join(scopes)}")
        limits.count_call(_counted_as(found), quota)
        return caller_address() if found.is_anonymous else f"tenant {found.tenant} {found.mode}"

    alternatives = (ADMIN,) if Scope.ADMIN in scopes else ()
    return Guard(BEARER, admit, alternatives=alternatives, is_optional=anonymous, refusals=REFUSALS)


def principal() -> Principal:
    """Return who makes the present request. Only behind a guard of `caller`."""
    return cast("Principal", g.principal)


def counted_address() -> str:
    """Return under what name an address is counted: it is nothing to keep, so its derivate is."""
    return derive(container().settings.secret_key, "limits", caller_address().encode()).hex()


def _identified(*, anonymous: bool) -> Principal:
    """Whatever is shown has to be good; nothing shown is good only where the operation and the operator say so."""
    if ADMIN_HEADER in request.headers:
        return _operator(request.headers[ADMIN_HEADER])
    if "Authorization" in request.headers:
        return container().api_keys.identify(_shown_key(request.headers["Authorization"]))
    if anonymous and container().settings.anonymous_calls:
        return _NOBODY
    raise Unauthorized("this address needs Authorization: Bearer <API key>")


def _shown_key(header: str) -> str:
    """Read distrustfully: a second header arrives joined by a comma, which no key holds."""
    found = _BEARER.fullmatch(header)
    if found is None:
        raise Unauthorized("this is no Authorization: Bearer <API key>", code=_INVALID_KEY)
    return found[1]


def _operator(shown: str) -> Principal:
    key = container().settings.admin_key
    if not key or not hmac.compare_digest(shown.encode(), key.encode()):
        raise Unauthorized("this admin key is not valid", code=_INVALID_KEY)
    return _OPERATOR


def _quota_of_keys() -> Quota:
    return Quota("key", container().settings.key_per_minute)


def _counted_as(found: Principal) -> str:
    """Return under what name a caller's calls are counted."""
    if found.is_anonymous:
        return counted_address()
    return OPERATOR if found.key_row is None else str(found.key_row)


_NOBODY = Principal(ANONYMOUS, Mode.LIVE, frozenset({Scope.INFERENCE, Scope.VERIFICATION}), Tier.FREE)
_OPERATOR = Principal(OPERATOR, Mode.LIVE, frozenset(Scope), Tier.TEAM)
