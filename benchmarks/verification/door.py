"""The pipelines over HTTP, as a customer calls them: placed, then looked at until they end."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.customer import WentWrong
from shared.kernel.clock import Clock

_LOOK_EVERY_S = 1.0
_LONGEST_S = 3_600.0
_REQUEST_S = 60.0
_DEFAULT_WAIT_S = 5.0


class Pipelines:
    """One customer's connection. A context manager."""

    def __init__(self, url: str, key: str, clock: Clock) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_REQUEST_S, trust_env=False)
        self._clock = clock
        self._pause = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def forward(self, code: str, *, language: str, context: str) -> dict[str, Any]:
        """Have code verified; return the run as it ended. Raises `WentWrong` where it was not taken, or does not end."""
        return self._ended("/api/v1/forward", {"code": code, "language": language, "context": context})

    def reverse(self, task: str, *, language: str) -> dict[str, Any]:
        """Have code written; return the run as it ended. Raises as `forward` does."""
        return self._ended("/api/v1/reverse", {"task": task, "language": language})

    def _ended(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        run = self._asked("POST", path, json=body, headers={"Prefer": "respond-async"})
        until = self._clock.monotonic() + _LONGEST_S
        while run["state"] not in ("complete", "failed", "cancelled"):
            if self._clock.monotonic() > until:
                raise WentWrong(f"a run has not ended after {_LONGEST_S:g} s")
            self._pause.wait(_LOOK_EVERY_S)
            run = self._asked("GET", f"/api/v1/runs/{run['request_id']}")
        return run

    def _asked(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        while True:
            answer = self._http.request(method, path, **options)
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS and _is_of_the_minute(answer):
                self._pause.wait(float(answer.headers.get("Retry-After") or _DEFAULT_WAIT_S))
                continue
            if answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            raise WentWrong(f"{method} {path} was answered {answer.status_code}: {answer.text[:300]}")


def _is_of_the_minute(answer: httpx.Response) -> bool:
    return bool(answer.json()["error"]["code"] == "rate_limited")
