"""The `Prefer` header (RFC 7240), as far as we heed it."""

from __future__ import annotations

from flask import request

RESPOND_ASYNC = "respond-async"
DESCRIBED = {"Prefer": "`respond-async`: 202 at once, with the address of the run in Location."}
"""For the served documents."""
APPLIED = {"Preference-Applied": RESPOND_ASYNC}


def prefers_async() -> bool:
    """Tell whether the caller would rather be told where to look than wait.

    Preferences are separated by commas, their parameters by semicolons.
    """
    wanted = ",".join(request.headers.getlist("Prefer")).split(",")
    return any(preference.partition(";")[0].strip().lower() == RESPOND_ASYNC for preference in wanted)
