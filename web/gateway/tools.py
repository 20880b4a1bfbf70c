"""Tools and answer formats of a chat request: read strictly, handed on as they are."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, fields

from web.typed_fields import require_plain

MOST_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = ("none", "auto", "required")

Json = dict[str, Any]


class Tools(fields.Raw):
    """The functions that a model may call."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_options: Any) -> list[Json]:  # noqa: ARG002 - marshmallow's signature
        if not isinstance(value, list) or not 0 < len(value) <= MOST_TOOLS:
            raise ValidationError(f"must be a list of 1 to {MOST_TOOLS} tools")
        return [_tool(raw, index) for index, raw in enumerate(value)]


class ToolChoice(fields.Raw):
    """Whether a model must call a function, and which."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_options: Any) -> str | Json:  # noqa: ARG002
        if isinstance(value, str) and value in _CHOICES:
            return value
        if not isinstance(value, dict) or value.get("type") != "function":
            raise ValidationError(f"must be {', '.join(_CHOICES)}, or name a function")
        return {"type": "function", "function": {"name": _name(value.get("function"))}}


class ResponseFormat(fields.Raw):
    """What form the answer must have."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_options: Any) -> Json:  # noqa: ARG002
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in ("text", "json_object"):
            return {"type": kind}
        if kind != "json_schema":
            raise ValidationError({"type": ["must be text, json_object or json_schema"]})
        return {"type": kind, "json_schema": _json_schema(value.get("json_schema"))}


def require_offered(choice: str | Json | None, tools: list[Json] | None) -> None:
    """Raise `ValidationError` where a choice names no function that the tools offer."""
    if choice is None:
        return
    if not tools:
        raise ValidationError("is allowed with tools only", "tool_choice")
    names = {tool["function"]["name"] for tool in tools}
    if not isinstance(choice, str) and choice["function"]["name"] not in names:
        raise ValidationError("names a function that no tool offers", "tool_choice")


def _tool(raw: Any, index: int) -> Json:
    try:
        return {"type": "function", "function": _function(raw)}
    except ValidationError as fault:
        raise ValidationError({index: fault.messages}) from None


def _function(raw: Any) -> Json:
    if not isinstance(raw, dict) or raw.get("type") != "function":
        raise ValidationError({"type": ["must be function: no other kind of tool is supported"]})
    function = raw.get("function")
    return {"name": _name(function), **_described(function, "parameters")}


def _json_schema(raw: Any) -> Json:
    if not isinstance(raw, dict):
        raise ValidationError({"json_schema": ["is required"]})
    return {"name": _name(raw, "json_schema"), **_described(raw, "schema")}


def _described(raw: Any, schema: str) -> Json:
    """Return what `raw` has of a description, a schema and strictness; null is absent."""
    described: Json = {}
    for name, kind, words in (
        ("description", str, "a string"),
        (schema, dict, "an object"),
        ("strict", bool, "true or false"),
    ):
        value = raw.get(name)
        if value is None:
            continue
        if not isinstance(value, kind):
            raise ValidationError({name: [f"must be {words}"]})
        described[name] = value
    require_plain(described)
    return described


def _name(raw: Any, place: str = "function") -> str:
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValidationError({place: {"name": ["must have 1 to 64 letters, digits, _ or -"]}})
    return name
