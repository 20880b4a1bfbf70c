"""A tenant who calls the gateway with a key, and has every success held against the contract's schema of its operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.contract.document_comparison import body_of, json_schema, operations

Contract = dict[str, dict[str, Any]]


def by_operation(document: dict[str, Any]) -> Contract:
    """Return the contract's operations by their ids."""
    return {operation["operationId"]: operation for _, _, operation in operations(document)}


@dataclass(frozen=True)
class Tenant:
    """One key and the application that it opens."""

    app: Flask
    contract: Contract
    key: str

    @classmethod
    def enter(
        cls, app: Flask, container: Container, contract: Contract, *scopes: Scope, name: str | None = None
    ) -> Tenant:
        """Make a key for a tenant, a new one unless named."""
        issued = container.api_keys.create(
            mode=Mode.LIVE, tier=Tier.FREE, scopes=frozenset(scopes or {Scope.INFERENCE}), tenant=name
        )
        return cls(app, contract, issued.text)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """Call once; a body of None sends none."""
        shown = {"Authorization": f"Bearer {self.key}", **{name.replace("_", "-"): headers[name] for name in headers}}
        return self.app.test_client().open(path, method=method, json=body, headers=shown)

    def get(self, name: str, path: str) -> dict[str, Any]:
        """Call and return a body that fits the contract."""
        return self.fitting(name, self.call("GET", path))

    def post(self, name: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """Call and return a body that fits the contract."""
        return self.fitting(name, self.call("POST", path, body, **headers))

    def fitting(self, name: str, answer: TestResponse) -> dict[str, Any]:
        """Require the contract's success and its shape."""
        (status,) = [code for code in self.contract[name]["responses"] if code.startswith("2")]
        assert str(answer.status_code) == status, answer.get_data(as_text=True)
        schema = json_schema(body_of(self.contract[name]["responses"][status]))
        Draft202012Validator(schema).validate(answer.get_json())
        return dict(answer.get_json())


def refusal(answer: TestResponse) -> tuple[int, str]:
    """Return an error's status and code, in the contract's shape."""
    body = answer.get_json()
    assert body["success"] is False
    assert body["error"] == body["error_code"]
    assert body["message"]
    return answer.status_code, body["error_code"]
