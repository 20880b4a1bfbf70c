"""Strings that match a regular expression: enough of the language for the patterns found in JSON Schemas."""

from __future__ import annotations

import importlib
import random
import re
import string
from collections.abc import Callable
from typing import Any

_PARSER = importlib.import_module("re._parser")
"""The standard library's own parser: private, but the alternative is a second regular-expression parser."""

_ALPHABET = string.ascii_letters + string.digits + " _-.,:;/+=@#"
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_NOT_DIGIT": string.ascii_letters,
    "CATEGORY_WORD": string.ascii_letters + string.digits,
    "CATEGORY_NOT_WORD": " -",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": string.ascii_letters,
}
_ATTEMPTS = 12


class UnsupportedPattern(ValueError):
    """The pattern uses what this generator does not know, or no match was found."""


def matching_text(pattern: str, *, rng: random.Random, accept: Callable[[str], bool]) -> str:
    """Return a string that `pattern` finds and `accept` accepts. Raises `UnsupportedPattern`."""
    try:
        parsed = _PARSER.parse(pattern)
        for attempt in range(_ATTEMPTS):
            text = _sequence(parsed, rng, 2 + attempt**2)
            if re.search(pattern, text) and accept(text):
                return text
    except (re.error, RecursionError) as error:
        raise UnsupportedPattern(pattern) from error
    raise UnsupportedPattern(pattern)


def _sequence(parsed: Any, rng: random.Random, spread: int) -> str:
    return "".join(_piece(str(op), argument, rng, spread) for op, argument in parsed)


def _piece(op: str, argument: Any, rng: random.Random, spread: int) -> str:
    match op:
        case "AT":
            return ""
        case "LITERAL":
            return chr(argument)
        case "ANY":
            return rng.choice(string.ascii_lowercase)
        case "NOT_LITERAL":
            return rng.choice(_ALPHABET.replace(chr(argument), ""))
        case "IN":
            return rng.choice(_members(argument))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = argument
            count = rng.randint(least, min(int(most), least + spread))
            return "".join(_sequence(inner, rng, spread) for _ in range(count))
        case "SUBPATTERN":
            return _sequence(argument[3], rng, spread)
        case "BRANCH":
            return _sequence(rng.choice(argument[1]), rng, spread)
        case _:
            raise UnsupportedPattern(op)


def _members(options: Any) -> str:
    negated, members = False, ""
    for kind, value in options:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                members += chr(value)
            case "RANGE":
                members += "".join(chr(code) for code in range(value[0], min(value[1], value[0] + 255) + 1))
            case "CATEGORY":
                members += _CATEGORIES.get(str(value), "")
    if negated:
        members = "".join(character for character in _ALPHABET if character not in members)
    if not members:
        raise UnsupportedPattern("an empty character class")
    return members
