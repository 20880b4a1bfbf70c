"""Structure of an OpenAPI document, without its prose: what a generated client depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
BOUNDS = ("format", "minimum", "maximum", "minLength", "maxLength", "pattern", "const")

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
    """Return the JSON types a schema admits; `nullable` (OpenAPI 3.0) and type lists (3.1) read alike. Empty: any."""
    given = schema.get("type", [])
    types = {given} if isinstance(given, str) else set(given)
    for option in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        types |= types_of(option)
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


def refused(wanted: dict[str, Any], served: dict[str, Any], at: str = "$") -> list[str]:
    """Return what a caller may send by `wanted` that `served` does not take."""
    served = flattened(served)
    faults = []
    if types_of(served) and not (types_of(wanted) - {"null"}) <= types_of(served):
        faults.append(f"{at}: takes {types_of(served)}, not {types_of(wanted)}")
    if not set(wanted.get("enum", ())) <= set(served.get("enum", wanted.get("enum", ()))):
        faults.append(f"{at}: takes {served.get('enum')}, not {wanted['enum']}")
    faults += _differing(wanted, served, (*BOUNDS, "default"), at)
    if (wanted.get("additionalProperties") is False) != (served.get("additionalProperties") is False):
        faults.append(f"{at}: additionalProperties is {served.get('additionalProperties')!r}")
    return faults + _members(wanted, served, at, compare=refused)


def unexpected(wanted: dict[str, Any], served: dict[str, Any], at: str = "$") -> list[str]:
    """Return what a caller that reads by `wanted` finds other, or in vain, in what `served` says; more members are fine."""
    served = flattened(served)
    faults = []
    types, plain = types_of(wanted), types_of(wanted) - {"null"}
    if plain and not plain <= types_of(served) <= types:
        faults.append(f"{at}: type {types_of(served)}, not {types}")
    if "enum" in wanted and set(served.get("enum", ())) - {None} != set(wanted["enum"]):
        faults.append(f"{at}: enum is {served.get('enum')}, not {wanted['enum']}")
    faults += _differing(wanted, served, BOUNDS, at)
    return faults + _members(wanted, served, at, compare=unexpected)


def absent(wanted: dict[str, Any], served: dict[str, Any]) -> set[str]:
    """Return the members, at whatever depth, that may be there by `wanted` and never are by `served`."""
    return beyond(flattened(served), wanted)


def beyond(wanted: dict[str, Any], served: dict[str, Any]) -> set[str]:
    """Return the members, at whatever depth, that `served` has and `wanted` does not."""
    found: set[str] = set()
    served, known = flattened(served), flattened(wanted).get("properties")
    for name, schema in served.get("properties", {}).items():
        if known is not None and name in known:
            found |= beyond(known[name], schema)
        elif known is not None:
            found.add(name)
    return found | (beyond(wanted.get("items", {}), served["items"]) if "items" in served else set())


def _members(
    wanted: dict[str, Any],
    served: dict[str, Any],
    at: str,
    *,
    compare: Callable[[dict[str, Any], dict[str, Any], str], list[str]],
) -> list[str]:
    faults = []
    if set(wanted.get("required", ())) != set(served.get("required", ())):
        faults.append(f"{at}: requires {served.get('required')}, not {wanted.get('required')}")
    for name, schema in wanted.get("properties", {}).items():
        if name in served.get("properties", {}):
            faults += compare(schema, served["properties"][name], f"{at}.{name}")
        elif compare is refused or name in wanted.get("required", ()):
            faults.append(f"{at}.{name}: missing")
    if "items" in wanted:
        faults += compare(wanted["items"], served.get("items", {}), f"{at}[]")
    return faults


def _differing(wanted: dict[str, Any], served: dict[str, Any], names: Iterable[str], at: str) -> list[str]:
    return [
        f"{at}: {name} is {served.get(name)!r}, not {wanted[name]!r}"
        for name in names
        if name in wanted and wanted[name] != served.get(name)
    ]


def json_schema(schema: Any) -> Any:
    """Return a resolved OpenAPI 3.0 or 3.1 schema as JSON Schema: `nullable` becomes a type."""
    if isinstance(schema, dict):
        plain = {name: json_schema(member) for name, member in schema.items() if name not in ("nullable", "example")}
        if schema.get("nullable") and "type" in plain:
            plain["type"] = [plain["type"], "null"]
        return plain
    return [json_schema(member) for member in schema] if isinstance(schema, list) else schema
