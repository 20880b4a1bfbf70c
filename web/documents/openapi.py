"""From the routes' own declarations to the documents that clients are generated from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
STATED: tuple[str, ...] = ("openapi", "info", "servers", "tags", "security")
NOT_BUILT = "501"
IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "The same key with the same body gets the same answer for 24 hours. Choose it at random.",
}


@dataclass(frozen=True)
class Served:
    """A document: what it covers, where it is served, and the base path that its servers already state."""

    name: str
    path: str
    base: str


@dataclass(frozen=True)
class Operation:
    """One operation, for a page."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    statuses: tuple[str, ...]

    @property
    def is_built(self) -> bool:
        """Tell whether it does anything but say that it is not built."""
        return self.statuses != (NOT_BUILT,)


def served_document(document: dict[str, Any], *, base: str) -> dict[str, Any]:
    """Return the document as clients get it: paths below `base`, and only what the contract says about parameters."""
    paths = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                _complete(method, item[method])
        _plain_parameters(item.get("parameters", []))
        paths[path.removeprefix(base)] = item
    first = {name: document[name] for name in STATED if name in document}
    return {**first, "paths": paths, "components": document.get("components", {})}


def operations_of(document: dict[str, Any], *, base: str) -> list[Operation]:
    """Return every operation of a served document, with its whole path."""
    return [
        Operation(
            method=method.upper(),
            path=base + path,
            name=item[method]["operationId"],
            tag=item[method]["tags"][0],
            summary=item[method].get("summary", ""),
            description=item[method].get("description", ""),
            statuses=tuple(item[method]["responses"]),
        )
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    ]


def _complete(method: str, operation: dict[str, Any]) -> None:
    _plain_parameters(operation.get("parameters", []))
    if method == "post" and tuple(operation["responses"]) != (NOT_BUILT,):
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)


def _plain_parameters(parameters: list[dict[str, Any]]) -> None:
    """The framework adds that a path segment is not empty, which every path says anyway."""
    for parameter in parameters:
        schema = parameter.get("schema", {})
        if parameter.get("in") == "path" and schema.get("minLength") == 1:
            del schema["minLength"]
