"""Somebody who calls the pipelines: with a key of a tenant, and with another of its keys before the minute's limit of one is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from requests import PreparedRequest
from requests.auth import AuthBase
from werkzeug.test import TestResponse

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container

BASE = "/api/v1"
FORWARD, REVERSE = f"{BASE}/forward", f"{BASE}/reverse"
CALLS_A_KEY = 50
"""Fewer than the greatest plan's limit a minute."""
ASYNC = {"Prefer": "respond-async"}
SUBTRACTING = "function add(a, b) { return a - b; }"


@dataclass
class KeyRing(AuthBase):
    """The keys of one tenant, each shown for a few calls. `scopes`, `tier`, `mode`: of every one of them."""

    container: Container
    mode: Mode = Mode.TEST
    tier: Tier = Tier.TEAM
    scopes: frozenset[Scope] = frozenset({Scope.VERIFICATION})
    tenant: str | None = None
    calls_a_key: int = CALLS_A_KEY
    _key: str = field(default="", repr=False)
    _calls: int = 0

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Give a request of the library `requests` its credential."""
        request.headers.update(self.headers)
        return request

    @property
    def headers(self) -> dict[str, str]:
        """Return the credential of the next call."""
        if not self._key or self._calls >= self.calls_a_key:
            issued = self.container.api_keys.create(
                mode=self.mode, tier=self.tier, scopes=self.scopes, tenant=self.tenant
            )
            self._key, self._calls, self.tenant = issued.text, 0, issued.record.tenant
        self._calls += 1
        return {"Authorization": f"Bearer {self._key}"}


class Caller:
    """One tenant who calls an application."""

    def __init__(self, app: Flask, container: Container, **of_keys: Any) -> None:
        self._app = app
        self.keys = KeyRing(container, **of_keys)

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """Call once; `options` are the test client's."""
        headers = {**self.keys.headers, **options.pop("headers", {})}
        return self._app.test_client().open(path, method=method, headers=headers, **options)

    def forward(
        self, code: Any = SUBTRACTING, *, headers: dict[str, str] | None = None, **members: Any
    ) -> TestResponse:
        """Ask for verification, and do not wait for it."""
        return self.call("POST", FORWARD, json={"code": code, **members}, headers={**ASYNC, **(headers or {})})

    def placed(self, **members: Any) -> str:
        """Return the id of a new run of the forward pipeline."""
        answer = self.forward(**members)
        assert answer.status_code == 202, answer.get_data(as_text=True)
        return str(answer.get_json()["request_id"])


def refusal(answer: TestResponse) -> tuple[int, str, str]:
    """Return an error's status, code and message, in the contract's shape."""
    body = answer.get_json()
    assert set(body) == {"error", "request_id"}
    assert set(body["error"]) == {"code", "message"}
    return answer.status_code, body["error"]["code"], body["error"]["message"]
