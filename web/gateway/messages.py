"""Messages of a conversation as callers write them, read strictly into the one form that runs keep.

`ValidationError`s name the place from the list on: `{0: {"content": […]}}`, as marshmallow's own do.
"""

from __future__ import annotations

from typing import Any, NoReturn

from marshmallow import ValidationError, fields, validate

from web.body import Fields

GATEWAY_ROLES = ("system", "user", "assistant", "function")
OPENAI_ROLES = (*GATEWAY_ROLES, "developer", "tool")
MOST_MESSAGES = 2000
LONGEST_NAME = 256
_PART_JOINT = "\n"
"""Text parts become one text, for upstreams that know no parts; the common servers join them like this."""

Message = dict[str, Any]


class FunctionCallSchema(Fields):
    """A call that an assistant made, in the older form."""

    name = fields.String()
    arguments = fields.String()


class ChatMessageSchema(Fields):
    """One message."""

    role = fields.String(required=True, validate=validate.OneOf(GATEWAY_ROLES))
    content = fields.String(required=True)
    name = fields.String(metadata={"description": "Required of the role function: which one it was."})
    function_call = fields.Nested(FunctionCallSchema)


class Messages(fields.List[Any]):
    """A list of messages, in the gateway's form or in OpenAI's, which has more roles, parts and tool calls."""

    def __init__(self, *, openai: bool, **options: Any) -> None:
        super().__init__(fields.Nested(ChatMessageSchema), **options)
        self._openai = openai

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_options: Any) -> list[Any]:  # noqa: ARG002 - marshmallow's signature
        if not isinstance(value, list) or not value:
            raise ValidationError("must be a list with at least one message")
        if len(value) > MOST_MESSAGES:
            raise ValidationError(f"holds more than {MOST_MESSAGES} messages")
        return [_message(raw, index, openai=self._openai) for index, raw in enumerate(value)]


def _message(raw: Any, index: int, *, openai: bool) -> Message:
    try:
        if not isinstance(raw, dict):
            _refuse("role", "is required")
        given = {name: member for name, member in raw.items() if member is not None} if openai else raw
        return _openai_message(given) if openai else _plain_message(given)
    except ValidationError as fault:
        raise ValidationError({index: fault.messages}) from None


def _plain_message(raw: dict[str, Any]) -> Message:
    message = {"role": _role(raw, GATEWAY_ROLES), "content": _text(raw, "content")}
    return {**message, **_name(raw, message["role"]), **_function_call(raw, message["role"])}


def _openai_message(raw: dict[str, Any]) -> Message:
    role = _role(raw, OPENAI_ROLES)
    calls = {**_function_call(raw, role), **_tool_calls(raw, role)}
    if role == "assistant" and "audio" in raw:
        _refuse("audio", "only text is supported")
    content = raw.get("content", raw.get("refusal") if role == "assistant" else None)
    if content is None and not calls:
        _refuse("content", "is required")
    message = {"role": role, "content": "" if content is None else _content(content)}
    if role == "tool":
        message["tool_call_id"] = _text(raw, "tool_call_id")
    return {**message, **_name(raw, role), **calls}


def _role(raw: dict[str, Any], known: tuple[str, ...]) -> str:
    role = raw.get("role")
    if not isinstance(role, str) or role not in known:
        _refuse("role", f"must be one of {', '.join(known)}")
    return role


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        _refuse("content", "must be a string or a list of parts")
    texts = []
    for position, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise ValidationError({"content": {position: ["must be a part of type text: no other kind is supported"]}})
        texts.append(text)
    return _PART_JOINT.join(texts)


def _name(raw: dict[str, Any], role: str) -> Message:
    if "name" not in raw and role != "function":
        return {}
    name = _text(raw, "name")
    if not 0 < len(name) <= LONGEST_NAME:
        _refuse("name", f"must have 1 to {LONGEST_NAME} characters")
    return {"name": name}


def _function_call(raw: dict[str, Any], role: str) -> Message:
    if "function_call" not in raw:
        return {}
    if role != "assistant":
        _refuse("function_call", "is an assistant's to make")
    return {"function_call": _called(raw["function_call"], "function_call")}


def _tool_calls(raw: dict[str, Any], role: str) -> Message:
    calls = raw.get("tool_calls")
    if not calls and not (calls is not None and not isinstance(calls, list)):
        return {}
    if role != "assistant" or not isinstance(calls, list):
        _refuse("tool_calls", "must be a list, and is an assistant's to make")
    read = []
    for position, call in enumerate(calls):
        if not isinstance(call, dict) or call.get("type", "function") != "function":
            raise ValidationError({"tool_calls": {position: ["must be a call of type function"]}})
        if not isinstance(call.get("id"), str):
            raise ValidationError({"tool_calls": {position: {"id": ["must be a string"]}}})
        function = _called(call.get("function"), "tool_calls")
        read.append({"id": call["id"], "type": "function", "function": function})
    return {"tool_calls": read}


def _called(raw: Any, place: str) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(raw.get(name), str) for name in ("name", "arguments")):
        _refuse(place, "must name a function and its arguments, both strings")
    return {"name": raw["name"], "arguments": raw["arguments"]}


def _text(raw: dict[str, Any], name: str) -> str:
    if name not in raw:
        _refuse(name, "is required")
    text = raw[name]
    if not isinstance(text, str):
        _refuse(name, "must be a string")
    return text


def _refuse(name: str, message: str) -> NoReturn:
    raise ValidationError({name: [message]})
