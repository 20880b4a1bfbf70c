"""Fields that take the JSON type they name and no other: marshmallow's own would read "5" and true as integers, and 1 as true."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from marshmallow import ValidationError, fields

DEEPEST = 32
"""How deep foreign JSON that we hand on may be nested: more than any schema needs, less than any reader stumbles over."""


class Whole(fields.Integer):
    """A JSON integer; 5.0 is none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("must be an integer")
        return super()._deserialize(value, attr, data, **options)


class Real(fields.Float):
    """A JSON number."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:  # noqa: ARG002 - marshmallow's signature
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValidationError("must be a number")
        return value


class Flag(fields.Boolean):
    """A JSON boolean."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:  # noqa: ARG002
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Document(fields.Dict):
    """A JSON object that is handed on as it is."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:  # noqa: ARG002
        if not isinstance(value, dict):
            raise ValidationError("must be an object")
        require_plain(value)
        return value


def require_plain(value: Any) -> None:
    """Raise `ValidationError` for what not every JSON reader takes: deep nesting, and numbers that are infinite once read."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        current, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValidationError(f"is nested more than {DEEPEST} levels deep")
        if isinstance(current, float) and not math.isfinite(current):
            raise ValidationError("holds a number beyond all bounds")
        waiting += [(member, depth + 1) for member in _members(current)]


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
