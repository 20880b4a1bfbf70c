"""Cross-origin rules: which pages may read our answers. Never with credentials: no cookie opens anything here."""

from __future__ import annotations

import re

from flask import Request, Response

EXPOSED = (
    "WWW-Authenticate",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "X-Request-Id",
    "X-Run-ID",
    "X-Model-Passport-ID",
    "X-Compute-Passport-ID",
    "Preference-Applied",
    "Location",
    "Idempotent-Replayed",
)
ALWAYS_ALLOWED = "Authorization, Content-Type, Accept, Idempotency-Key, X-Request-Id"
PREFLIGHT_AGE_S = 600
_HEADER_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(?:[ ]*,[ ]*[A-Za-z0-9-]{1,64}){0,31}")


class Cors:
    """The operator's `CORS_ORIGINS`: `*`, or origins separated by commas."""

    def __init__(self, origins: str) -> None:
        self._origins = frozenset(origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip())

    def permit(self, request: Request, response: Response) -> None:
        """Add the headers that let the asking page read `response`, if its origin may."""
        origin = "*"
        if "*" not in self._origins:
            response.headers.add("Vary", "Origin")
            origin = request.headers.get("Origin", "")
            if origin not in self._origins:
                return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
        if request.method == "OPTIONS":
            self._answer_preflight(request, response)

    def _answer_preflight(self, request: Request, response: Response) -> None:
        asked = request.headers.get("Access-Control-Request-Headers", "").strip()
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET, HEAD, OPTIONS, POST")
        response.headers["Access-Control-Allow-Headers"] = asked if _HEADER_NAMES.fullmatch(asked) else ALWAYS_ALLOWED
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
