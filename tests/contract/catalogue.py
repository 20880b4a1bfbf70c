"""Callers of the catalogue, and passports as they write them."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container

OWNER = "0x" + "ab" * 20
PLACEHOLDER = "placeholder-id"
ENDPOINT = "http://127.0.0.1:9/v1"

METADATA: dict[str, dict[str, Any]] = {
    "model": {
        "schema_version": "1.0",
        "model_passport_id": PLACEHOLDER,
        "format": "safetensors",
        "runtime_recommended": "vllm",
        "context_length": 32768,
        "requirements": {"min_vram_gb": 24},
        "hf": {"repo_id": "org/model"},
    },
    "compute": {
        "schema_version": "1.0",
        "compute_passport_id": PLACEHOLDER,
        "provider_type": "cloud",
        "regions": ["eu-west-1", "eu-central-1"],
        "hardware": {"gpu": "NVIDIA-A100-40GB", "vram_gb": 40},
        "runtimes": [{"name": "vllm"}, {"name": "tgi"}],
        "endpoints": {"inference_url": ENDPOINT},
    },
    "tool": {
        "schema_version": "1.0",
        "tool_passport_id": PLACEHOLDER,
        "protocol": "mcp",
        "operations": [{"name": "search"}],
        "anything": "else",
    },
    "dataset": {"schema_version": "1.0", "dataset_passport_id": PLACEHOLDER, "format": "parquet", "anything": 1.5},
    "agent": {
        "schema_version": "1.0",
        "agent_passport_id": PLACEHOLDER,
        "workflow_type": "single",
        "model_passport_ids": ["passport_" + "0" * 32],
    },
    "voice": {"sample": "x"},
    "other": {},
}


class Caller:
    """One tenant's key and the addresses it is shown at. Test keys and admins are callers too."""

    def __init__(self, client: FlaskClient, headers: dict[str, str], tenant: str) -> None:
        self.client = client
        self.headers = headers
        self.tenant = tenant

    @classmethod
    def of(
        cls, container: Container, client: FlaskClient, *, mode: Mode = Mode.LIVE, tenant: str | None = None
    ) -> Caller:
        """Make a tenant of its own, unless one is named."""
        scopes = frozenset({Scope.INFERENCE})
        issued = container.api_keys.create(mode=mode, tier=Tier.FREE, scopes=scopes, tenant=tenant)
        return cls(client, {"Authorization": f"Bearer {issued.text}"}, issued.record.tenant)

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(path, query_string=query, headers=self.headers)

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.client.post(path, json=body, headers={**self.headers, **headers})

    def patch(self, path: str, body: Any, **headers: str) -> TestResponse:
        return self.client.patch(path, json=body, headers={**self.headers, **headers})

    def delete(self, path: str, **headers: str) -> TestResponse:
        return self.client.delete(path, headers={**self.headers, **headers})

    def make(self, type: str, **members: Any) -> dict[str, Any]:  # noqa: A002 - the API's word
        """Create a passport; `metadata` is merged into its type's."""
        answer = self.post("/v1/passports", draft(type, **members))
        assert answer.status_code == 201, answer.get_json()
        passport: dict[str, Any] = answer.get_json()["passport"]
        return passport

    def names(self, path: str, member: str, **query: Any) -> list[str]:
        """List and return the names on the page, in order."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.get_json()
        return [passport["name"] for passport in answer.get_json()[member]]


def draft(type: str, **members: Any) -> dict[str, Any]:  # noqa: A002
    metadata = {**METADATA[type], **members.pop("metadata", {})}
    return {"type": type, "owner": OWNER, "metadata": metadata, **members}
