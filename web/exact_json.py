"""JSON out, with every `Decimal` printed digit for digit: an amount of money never passes through a float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any

from flask.json.provider import DefaultJSONProvider

DOCUMENT_INDENT = 2


class ExactJson(DefaultJSONProvider):
    """Flask's JSON, with our encoder."""

    def dumps(self, obj: Any, **_options: Any) -> str:
        """Encode `obj`; ASCII only, members in their own order."""
        return encode(obj)


def encode(value: object, *, indent: int = 0) -> str:
    """Return JSON text. Raises `TypeError` for what JSON has no form for, NaN and infinities among it."""
    return "".join(_pieces(value, indent, "\n" if indent else ""))


def _pieces(value: object, indent: int, line: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        members = [(f"{_scalar(str(key))}:{' ' if indent else ''}", member) for key, member in value.items()]
        yield from _group("{", members, "}", indent=indent, line=line)
    elif isinstance(value, list | tuple):
        yield from _group("[", [("", member) for member in value], "]", indent=indent, line=line)
    else:
        yield _scalar(value)


def _group(opens: str, members: list[tuple[str, Any]], closes: str, *, indent: int, line: str) -> Iterator[str]:
    inner = line + " " * indent
    yield opens
    for position, (label, member) in enumerate(members):
        yield ("," if position else "") + inner + label
        yield from _pieces(member, indent, inner)
    yield (line if members else "") + closes


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, float) and math.isfinite(value):
        return float.__repr__(value)
    raise TypeError(f"JSON has no form for this {type(value).__name__}")
