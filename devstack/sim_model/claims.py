"""What the simulated model says about submitted code. It knows addition, by the name `add`, and says of all else that it does not.

Of an unknown function it writes calls and expects nothing of them that anybody would second: its implementations of it only
raise, so that no verdict can come to rest on this model's word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from devstack.sim_model.chat import ChatRequest

_TESTED = re.compile(r"Write (?P<count>\d+) different tests of `(?P<name>[^`]+)`")
_PROGRAMMED = re.compile(r"\b(?P<name>python|javascript|typescript)\b")
_SIGNATURE = re.compile(r"Signature:\n(?P<text>.*)", re.DOTALL)
_MENDED = re.compile(r"Code:\n(?P<code>.*)\n\nWhat is wrong with `(?P<name>[^`]+)`:", re.DOTALL)
_FUNCTION = re.compile(r"(?:function\*?|def)\s+(?P<name>[\w$]+)\s*(?:<[^>]*>)?\((?P<parameters>[^)]*)\)")
_METHOD = re.compile(
    r"^\s+(?:def\s+|async\s+)*(?P<name>(?!constructor|if|for|while|switch|return)[A-Za-z]\w*)\s*\([^)]*\).*[:{]",
    re.MULTILINE,
)
_CLASS = re.compile(r"\bclass\s+(?P<name>[\w$]+)")
_SUMS = (
    ("1, 2", 3),
    ("0, 5", 5),
    ("-1, 1", 0),
    ("10, -4", 6),
    ("2, 3", 5),
    ("7, 7", 14),
    ("100, 200", 300),
    ("-3, -6", -9),
)
_SUBTRACTION = re.compile(r"(?<=[\w)\]]) - (?=[\w(\[])")


def claim_answer(request: ChatRequest) -> Mapping[str, Any] | None:
    """Return the answer to one of the questions of `forward`; None for all others."""
    match request.schema_name:
        case "verification_tests":
            return _tests(request.text, request.user_text)
        case "verification_reference":
            return _reference(request.text, request.user_text)
        case "verification_remedy":
            return _remedy(request.user_text)
    return None


def _tests(whole: str, text: str) -> Mapping[str, Any] | None:
    wish = _TESTED.search(text)
    if wish is None:
        return None
    name, count = wish["name"], int(wish["count"])
    if name == "add":
        return {"tests": [f"add({pair}) == {total}" for pair, total in _SUMS[:count]]}
    language = _PROGRAMMED.search(whole)
    is_python = language is not None and language["name"] == "python"
    nothing = "None" if is_python else "undefined"
    if any(found["name"] == name for found in _CLASS.finditer(text)):
        method = _METHOD.search(text.partition("Code:\n")[2])
        named = method["name"] if method else "method"
        tests = [
            {"arguments": "", "calls": [f"{named}()", f"{named}({number}) == {nothing}"]}
            for number in range(1, count + 1)
        ]
        return {"tests": tests}
    arity = _arity(name, text)
    calls = [f"{name}({', '.join(str(number + place) for place in range(arity))})" for number in range(1, count + 1)]
    return {"tests": [f"{call} == {nothing}" for call in calls]}


def _reference(whole: str, text: str) -> Mapping[str, Any] | None:
    language, signature = _PROGRAMMED.search(whole), _SIGNATURE.search(text)
    if language is None or signature is None:
        return None
    is_python = language["name"] == "python"
    found = _FUNCTION.search(signature["text"])
    if found is None:
        made = _CLASS.search(signature["text"])
        return {"lines": _unknown_class(made["name"], is_python=is_python)} if made else None
    names = [part.partition(":")[0].partition("=")[0].strip() for part in found["parameters"].split(",")]
    if found["name"] == "add" and len(names) == 2 and all(names):
        return {"lines": _addition(names, is_python=is_python)}
    return {"lines": _unknown(found["name"], is_python=is_python)}


def _remedy(text: str) -> Mapping[str, Any] | None:
    asked = _MENDED.search(text)
    if asked is None:
        return None
    if asked["name"] == "add" and _SUBTRACTION.search(asked["code"]):
        return {
            "title": "Fix subtraction to addition",
            "action": "modify",
            "description": "Change 'return a - b' to 'return a + b'.",
            "lines": _SUBTRACTION.sub(" + ", asked["code"]).split("\n"),
        }
    return {
        "title": f"Simulated remediation: look at {asked['name']}"[:100],
        "action": "modify",
        "description": "The simulated model knows no correction of this.",
        "lines": [line[:200] for line in asked["code"].split("\n")[:70]],
    }


def _arity(name: str, text: str) -> int:
    for found in _FUNCTION.finditer(text):
        if found["name"] == name:
            required = [part for part in found["parameters"].split(",") if part.strip() and "=" not in part]
            return len([part for part in required if not part.strip().startswith(("*", "...", "/"))])
    return 1


def _addition(names: list[str], *, is_python: bool) -> list[str]:
    first, second = names
    if is_python:
        return [f"def add({first}, {second}):", f"    return {first} + {second}"]
    return [f"function add({first}, {second}) {{", f"  return {first} + {second};", "}"]


def _unknown(name: str, *, is_python: bool) -> list[str]:
    if is_python:
        return [f"def {name}(*values):", "    raise RuntimeError('simulated')"]
    return [f"function {name}(...values) {{", "  throw new Error('simulated');", "}"]


def _unknown_class(name: str, *, is_python: bool) -> list[str]:
    if is_python:
        return [f"class {name}:", "    def __init__(self, *values):", "        raise RuntimeError('simulated')"]
    return [f"class {name} {{", "  constructor(...values) {", "    throw new Error('simulated');", "  }", "}"]
