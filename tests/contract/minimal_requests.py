"""The least that an operation takes, made from its contract: what is required, and values that mean something to the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

OWNER = "0x" + "ab" * 20
WALLET = "0x" + "cd" * 20
POLICY = {"policy_version": "1.0"}
MODEL_META = {
    "schema_version": "1.0",
    "model_passport_id": "passport_of_a_model",
    "format": "safetensors",
    "runtime_recommended": "vllm",
    "name": "a-model",
}
COMPUTE_META = {
    "schema_version": "1.0",
    "compute_passport_id": "passport_of_a_node",
    "provider_type": "onprem",
    "regions": ["eu-west"],
    "hardware": {"gpu": "none", "vram_gb": 0},
    "runtimes": [{"name": "vllm"}],
    "endpoints": {"inference_url": "https://127.0.0.1:9/v1"},
}
MESSAGES = [{"role": "user", "content": "Say hello."}]


@dataclass(frozen=True)
class Request:
    """One request, ready to be sent. `body` is None where the operation takes none."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


def request_for(method: str, path: str, operation: dict[str, Any], *, values: Mapping[str, Any]) -> Request:
    """Return a request of `operation`, whose references are resolved. `values`: what parameters and members of a name get."""
    given: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
    for parameter in operation["parameters"]:
        if parameter.get("required") and parameter["in"] in given:
            name = parameter["name"]
            given[parameter["in"]][name] = str(
                values[name] if name in values else instance(parameter["schema"], values)
            )
    for name, value in given["path"].items():
        path = path.replace("{" + name + "}", quote(value, safe=""))
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    body = None if schema is None else values.get("body", instance(schema, values))
    return Request(method.upper(), path, given["query"], given["header"], body)


def instance(schema: dict[str, Any], values: Mapping[str, Any]) -> Any:
    """Return the least that fits `schema`; a member that `values` names gets that."""
    if "enum" in schema:
        return schema["enum"][0]
    for alternatives in ("oneOf", "anyOf"):
        if alternatives in schema:
            return instance(schema[alternatives][0], values)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next(name for name in kind if name != "null")
    match kind:
        case "object":
            return _members(schema, values)
        case "array":
            return [instance(schema.get("items", {}), values)] * int(schema.get("minItems", 0))
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return _text(schema)


def _members(schema: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {
        name: values[name] if name in values else instance(properties.get(name, {}), values)
        for name in schema.get("required", ())
    }


def _text(schema: dict[str, Any]) -> str:
    match schema.get("format"):
        case "uuid":
            return "5a0cf3c1-7d53-4a6e-9a0e-3f4a2b1c0d9e"
        case "uri":
            return "https://127.0.0.1:9/v1"
        case "date-time":
            return "2030-01-01T00:00:00Z"
    return "a" * max(1, int(schema.get("minLength", 1)))
