"""A chat completion request, checked. Faults are answered in OpenAI's error shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODELS = ("sim-small", "sim-large")
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class BadRequest(Exception):
    """A request that OpenAI's API would refuse too. `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Message:
    """One message: its role and its text, parts joined."""

    role: str
    text: str


@dataclass(frozen=True)
class Tool:
    """A function that the caller offers."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    """What the answer is a function of. `digest` covers model, messages, seed, tools and response_format."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    stop: tuple[str, ...]
    schema: Mapping[str, Any] | None
    schema_name: str | None
    json_object: bool
    forced_tool: Tool | None
    digest: bytes

    @property
    def text(self) -> str:
        """All the message texts."""
        return "\n".join(message.text for message in self.messages)

    @property
    def user_text(self) -> str:
        """The texts of the user's messages."""
        return "\n".join(message.text for message in self.messages if message.role == "user")


def parse_chat(body: bytes) -> ChatRequest:
    """Read a request body. Raises `BadRequest`."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(raw, dict):
        raise BadRequest("the body is not a JSON object")
    if raw.get("model") not in MODELS:
        raise BadRequest(f"the models are {', '.join(MODELS)}", param="model", code="model_not_found", status=404)
    if raw.get("n") not in (None, 1):
        raise BadRequest("n is 1 here", param="n")
    schema, schema_name, json_object = _response_format(raw.get("response_format"))
    return ChatRequest(
        model=raw["model"],
        messages=_messages(raw.get("messages")),
        stream=_flag(raw, "stream"),
        include_usage=_flag(raw.get("stream_options") or {}, "include_usage"),
        max_tokens=_max_tokens(raw),
        stop=_stop(raw.get("stop")),
        schema=schema,
        schema_name=schema_name,
        json_object=json_object,
        forced_tool=_forced_tool(raw),
        digest=_digest(raw),
    )


def _digest(raw: Mapping[str, Any]) -> bytes:
    deciding = {key: raw.get(key) for key in ("model", "messages", "seed", "tools", "tool_choice", "response_format")}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).digest()


def _flag(raw: object, name: str) -> bool:
    value = raw.get(name) if isinstance(raw, dict) else None
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{name} is a boolean", param=name)
    return bool(value)


def _messages(raw: object) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise BadRequest("messages is a list of at least one message", param="messages")
    return tuple(_message(entry) for entry in raw)


def _message(entry: object) -> Message:
    if not isinstance(entry, dict) or entry.get("role") not in _ROLES:
        raise BadRequest("a message has a role", param="messages")
    content = entry.get("content")
    if content is None:
        content = ""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise BadRequest("only text parts are understood", param="messages")
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise BadRequest("a message's content is text", param="messages")
    return Message(entry["role"], content)


def _max_tokens(raw: Mapping[str, Any]) -> int | None:
    value = raw.get("max_completion_tokens", raw.get("max_tokens"))
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadRequest("max_tokens is a whole number from 1", param="max_tokens")
    return value


def _stop(raw: object) -> tuple[str, ...]:
    stops = [raw] if isinstance(raw, str) else raw or []
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(one, str) and one for one in stops):
        raise BadRequest("stop is a string, or up to four", param="stop")
    return tuple(stops)


def _response_format(raw: object) -> tuple[Mapping[str, Any] | None, str | None, bool]:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if raw is None or kind == "text":
        return None, None, False
    if kind == "json_object":
        return None, None, True
    wrapper = raw.get("json_schema") if isinstance(raw, dict) and kind == "json_schema" else None
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest("response_format is text, json_object, or json_schema with a schema", param="response_format")
    name = wrapper.get("name") if isinstance(wrapper, dict) else None
    return schema, name if isinstance(name, str) else None, False


def _forced_tool(raw: Mapping[str, Any]) -> Tool | None:
    tools = [_tool(entry) for entry in raw.get("tools") or []]
    choice = raw.get("tool_choice")
    if choice in (None, "none", "auto"):
        return None
    if choice == "required" and tools:
        return tools[0]
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    for tool in tools:
        if tool.name == name:
            return tool
    raise BadRequest("tool_choice names none of the tools", param="tool_choice")


def _tool(entry: object) -> Tool:
    function = entry.get("function") if isinstance(entry, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest("a tool is a function with a name", param="tools")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise BadRequest("a function's parameters are a JSON Schema", param="tools")
    return Tool(function["name"], parameters)
