"""Structure of an OpenAPI document, without its prose: what a generated client depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
BOUNDS = ("enum", "format", "minimum", "maximum", "minLength", "maxLength", "pattern", "const")

Operation = dict[str, Any]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Yield (method, path, operation), each with its path's parameters and all references resolved."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                parameters = [*item.get("parameters", []), *item[method].get("parameters", [])]
                yield method, path, resolved({**item[method], "parameters": parameters}, document)


def resolved(value: Any, document: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            target: Any = document
            for part in value["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return resolved({**target, **{k: v for k, v in value.items() if k != "$ref"}}, document)
        return {name: resolved(member, document) for name, member in value.items()}
    if isinstance(value, list):
        return [resolved(member, document) for member in value]
    return value


def types_of(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types a schema admits; `nullable` (OpenAPI 3.0) and type lists (3.1) read alike."""
    given = schema.get("type", [])
    types = {given} if isinstance(given, str) else set(given)
    return types | ({"null"} if schema.get("nullable") else set())


def flattened(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `anyOf: [an object, null]`, as OpenAPI 3.1 writes what 3.0 calls nullable, as one schema."""
    options = schema.get("anyOf", [])
    shapes = [option for option in options if option.get("type") != "null"]
    if len(shapes) != 1 or len(options) != 2:
        return schema
    return {**shapes[0], "type": [shapes[0].get("type"), "null"]}


def body_of(holder: dict[str, Any]) -> dict[str, Any] | None:
    schema = holder.get("content", {}).get("application/json", {}).get("schema")
    return dict(schema) if schema is not None else None


def narrower(wanted: dict[str, Any], served: dict[str, Any], at: str = "$") -> list[str]:
    """Return where `served` says less, or other, than `wanted`; members that only `served` has are fine unless required."""
    served = flattened(served)
    faults = []
    if types_of(wanted) - {"null"} and types_of(wanted) != types_of(served):
        faults.append(f"{at}: type {types_of(served)}, not {types_of(wanted)}")
    faults += [
        f"{at}: {name} is {served.get(name)!r}, not {wanted[name]!r}"
        for name in BOUNDS
        if name in wanted and not _same(wanted[name], served.get(name))
    ]
    if set(wanted.get("required", ())) != set(served.get("required", ())):
        faults.append(f"{at}: requires {served.get('required')}, not {wanted.get('required')}")
    for name, schema in wanted.get("properties", {}).items():
        if name in served.get("properties", {}):
            faults += narrower(schema, served["properties"][name], f"{at}.{name}")
        elif name in wanted.get("required", ()):
            faults.append(f"{at}.{name}: missing")
    if "items" in wanted:
        faults += narrower(wanted["items"], served.get("items", {}), f"{at}[]")
    return faults


def _same(wanted: Any, served: Any) -> bool:
    return set(wanted) == set(served or ()) if isinstance(wanted, list) else bool(wanted == served)


def json_schema(schema: Any) -> Any:
    """Return a resolved OpenAPI 3.0 or 3.1 schema as JSON Schema: `nullable` becomes a type."""
    if isinstance(schema, dict):
        plain = {name: json_schema(member) for name, member in schema.items() if name not in ("nullable", "example")}
        if schema.get("nullable") and "type" in plain:
            plain["type"] = [plain["type"], "null"]
        return plain
    return [json_schema(member) for member in schema] if isinstance(schema, list) else schema
