"""Has a running service verify code, over HTTP: asked once, whatever the connection does, and looked after until it ends."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import httpx

MOST_TRIES = 5
FIRST_LOOK_S = 0.2
LOOK_EVERY_S = 2.0
MOST_PATIENCE_S = 120.0
"""A limit that asks for more than this is not waited for."""

_AWAY = frozenset({502, 503, 504})
"""What stands between here and the service says so; the service itself knows 500 alone, with a Retry-After where that makes sense."""
_QUOTA = "quota_exceeded"


class ServiceFault(Exception):
    """The service did not verify the code. `is_final`: it will not verify other files either, so there is no use in going on."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class VerificationClient:
    """One service, asked with one key. `timeout_s`: how long one verification may take."""

    def __init__(self, url: str, *, key: str, timeout_s: float) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
            trust_env=False,
        )
        self._timeout_s = timeout_s
        self._pause = threading.Event()

    def close(self) -> None:
        """Give back the connection."""
        self._http.close()

    def verify(self, code: str, *, language: str, context: str | None) -> dict[str, Any]:
        """Return the contract's answer. Raises `ServiceFault`."""
        until = time.monotonic() + self._timeout_s
        body = {"code": code, "language": language} | ({"context": context} if context else {})
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"verify-code-{uuid.uuid4()}"}
        answer = self._ask("POST", "/api/v1/forward", until=until, json=body, headers=headers)
        asked = _document(answer)
        if answer.status_code == httpx.codes.OK:
            return asked
        run, pause_s = _path_of(asked), FIRST_LOOK_S
        while True:
            shown = _document(self._ask("GET", run, until=until))
            result = _result_of(shown)
            if result is not None:
                return result
            if time.monotonic() > until:
                raise ServiceFault(f"it took more than {self._timeout_s:g} s; it goes on as {shown.get('request_id')}")
            self._pause.wait(pause_s)
            pause_s = min(2 * pause_s, LOOK_EVERY_S)

    def sarif(self, request_id: str) -> dict[str, Any]:
        """Return a verification's findings as a SARIF log. Raises `ServiceFault`."""
        until = time.monotonic() + self._timeout_s
        return _document(self._ask("GET", f"/api/v1/runs/{request_id}/sarif", until=until))

    def _ask(self, method: str, path: str, *, until: float, **options: Any) -> httpx.Response:
        """Ask until there is an answer, once at least; an answer that is no success raises `ServiceFault`."""
        tries = 0
        while True:
            wait_s = float(2**tries)
            try:
                answer = self._http.request(method, path, **options)
            except httpx.HTTPError as error:
                fault = ServiceFault(f"{self._http.base_url} does not answer ({type(error).__name__})", is_final=True)
            else:
                if answer.is_success:
                    return answer
                fault = _fault_of(answer)
                is_limited = answer.status_code == httpx.codes.TOO_MANY_REQUESTS and not fault.is_final
                if not is_limited and not _may_succeed_later(answer):
                    raise fault
                wait_s = _retry_after(answer) or wait_s
                tries -= is_limited  # a limit is no failure: it is waited out for as long as there is time
            tries += 1
            if tries >= MOST_TRIES or wait_s > MOST_PATIENCE_S or time.monotonic() + wait_s > until:
                raise fault
            self._pause.wait(wait_s)


def _fault_of(answer: httpx.Response) -> ServiceFault:
    """Return what the service said. A key that is no good and a quota that is used up concern every file."""
    try:
        error = answer.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        code, message = f"{answer.status_code}", "the answer is not one of this service"
    is_final = answer.status_code in (401, 403) or code == _QUOTA
    return ServiceFault(f"{code}: {message}", is_final=is_final)


def _may_succeed_later(answer: httpx.Response) -> bool:
    """Say whether to ask once more: nothing is verified twice, since what is placed has an Idempotency-Key."""
    is_told_when = answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and _retry_after(answer) is not None
    return is_told_when or answer.status_code in _AWAY


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServiceFault("the answer is not one of this service", is_final=True)
    return document


def _path_of(run: dict[str, Any]) -> str:
    request_id = run.get("request_id")
    if not isinstance(request_id, str) or not request_id.replace("_", "").isalnum():
        raise ServiceFault("the answer names no run", is_final=True)
    return f"/api/v1/runs/{request_id}"


def _result_of(run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of a run that is complete, None of one that goes on."""
    state = run.get("state")
    if state == "complete" and isinstance(run.get("result"), dict):
        result: dict[str, Any] = run["result"]
        return result
    if state == "failed":
        error = run.get("error") or {}
        raise ServiceFault(f"{error.get('code', 'failed')}: {error.get('message', 'the run failed')}")
    if state in ("cancelled", "complete"):
        raise ServiceFault(f"{run.get('request_id')}: it is {state}, and there is no result")
    return None
