"""What was asked, made ready for an upstream. Pure.

Upstreams know tools only: the older form of OpenAI's API (an assistant's `function_call`, a message of role `function`) is put into
theirs. A result without its call gets one, as upstreams refuse answers to what was never asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

FUNCTION = "function"
_NOT_OURS_TO_SEND = ("function_call", "name")


def in_tool_form(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with functions put as tools; the order stays."""
    made: list[dict[str, Any]] = []
    open_calls: list[tuple[str, str]] = []
    for message in messages:
        if message.get("function_call"):
            call = message["function_call"]
            identifier = _call_id(len(made))
            open_calls.append((str(call.get("name", "")), identifier))
            made.append(_calling(message, call, identifier))
        elif message.get("role") == FUNCTION:
            name = str(message.get("name") or FUNCTION)
            asked = _take(open_calls, name)
            if asked is None:
                asked = _call_id(len(made))
                made.append(_calling({"role": "assistant"}, {"name": name, "arguments": "{}"}, asked))
            made.append({"role": "tool", "tool_call_id": asked, "content": message.get("content") or ""})
        else:
            made.append(dict(message))
    return made


def with_text(messages: Sequence[Mapping[str, Any]], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return the messages with every text of theirs changed: contents, parts, names, and the arguments of calls."""
    return [{name: _changed(value, change, name) for name, value in message.items()} for message in messages]


def with_every_text(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain JSON values with every string in them changed, names of members too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): with_every_text(member, change) for name, member in value.items()}
    if isinstance(value, list):
        return [with_every_text(member, change) for member in value]
    return value


def characters(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return how long the messages' contents are, for an estimate of their tokens."""
    return sum(_length(message.get("content")) for message in messages)


def _calling(message: Mapping[str, Any], call: Mapping[str, Any], identifier: str) -> dict[str, Any]:
    rest = {name: value for name, value in message.items() if name not in _NOT_OURS_TO_SEND}
    function = {"name": str(call.get("name", "")), "arguments": str(call.get("arguments", "{}"))}
    calls = [{"id": identifier, "type": FUNCTION, "function": function}]
    return {**rest, "role": "assistant", "content": message.get("content"), "tool_calls": calls}


def _call_id(number: int) -> str:
    return f"call_{number}"


def _take(open_calls: list[tuple[str, str]], name: str) -> str | None:
    for place, (called, identifier) in enumerate(open_calls):
        if called == name:
            del open_calls[place]
            return identifier
    return None


_NOT_TEXT = frozenset({"role", "type", "id", "tool_call_id"})


def _changed(value: Any, change: Callable[[str], str], name: str) -> Any:
    if isinstance(value, str):
        return value if name in _NOT_TEXT else change(value)
    if isinstance(value, Mapping):
        return {inner: _changed(member, change, inner) for inner, member in value.items()}
    if isinstance(value, list):
        return [_changed(member, change, name) for member in value]
    return value


def _length(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list):
        return sum(_length(part.get("text")) for part in content if isinstance(part, Mapping))
    return 0
