"""Whose run it is. A key's runs are its tenant's; a run made without a key has a token, since its id stands in a public receipt."""

from __future__ import annotations

import hmac

from flask import request

from shared.access.model import ANONYMOUS
from shared.inference.model import Run, RunView
from shared.inference.service import NO_SUCH
from shared.kernel.derive import derive
from shared.kernel.errors import NotFound
from web.auth import principal
from web.context import container

TOKEN = "token"  # noqa: S105 - a parameter's name
_TOKEN_DIGITS = 32


def address_of(run: Run) -> str:
    """Return where a run can be looked at, by whoever is told."""
    address = f"/v1/runs/{run.run_id}"
    return f"{address}?{TOKEN}={token_of(run)}" if run.tenant == ANONYMOUS else address


def own_run(run_id: str) -> RunView:
    """Return the present caller's run. Raises `NotFound`, for another's too.

    The embedded stack asks for no token: whoever reaches it is its operator.
    """
    view = container().runs.get(run_id, tenant=principal().tenant)
    if principal().is_anonymous and container().settings.is_production:
        shown = request.args.get(TOKEN, "")
        if not hmac.compare_digest(shown.encode(), token_of(view.run).encode()):
            raise NotFound(NO_SUCH)
    return view


def token_of(run: Run) -> str:
    """Return what opens a run that was made without a key."""
    return derive(container().settings.secret_key, "run-token", run.run_id.encode()).hex()[:_TOKEN_DIGITS]
