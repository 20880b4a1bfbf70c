"""Reading calls and plain values in text, by their brackets and quotes: the same for the three languages that can be run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.sandbox.model import Language

_OPENING = {"(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`"
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d[\d_]*)?\.?\d+(?:[eE][-+]?\d+)?)(?![\w])")
_OPERATOR = re.compile(r"===?|->|\s(?:is|equals|returns|raises?|throws?)\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_WORDS = frozenset({"True", "False", "None", "true", "false", "null", "undefined", "NaN", "Infinity", "nan", "inf"})
_PYTHON = {"true": "True", "false": "False", "null": "None", "undefined": "None"}
_SCRIPT = {"True": "true", "False": "false", "None": "null"}
_DEEPEST = 40


def group_end(text: str, start: int) -> int | None:
    """Return the index behind the bracket that closes the one at `start`; None where none does."""
    expected: list[str] = []
    place = start
    while place < len(text):
        sign = text[place]
        if sign in _QUOTES:
            end = string_end(text, place)
            if end is None:
                return None
            place = end
            continue
        if sign in _OPENING:
            expected.append(_OPENING[sign])
        elif sign in ")]}":
            if not expected or expected.pop() != sign:
                return None
            if not expected:
                return place + 1
        if len(expected) > _DEEPEST:
            return None
        place += 1
    return None


def string_end(text: str, start: int) -> int | None:
    """Return the index behind the quote that closes the one at `start`; None where none does on that line."""
    quote = text[start]
    place = start + 1
    while place < len(text):
        sign = text[place]
        if sign == "\\":
            place += 2
            continue
        if sign == quote:
            return place + 1
        if sign == "\n":
            return None
        place += 1
    return None


def literal_end(text: str, start: int) -> int | None:
    """Return the index behind the plain value at `start`: a number, a string, true, None … or brackets of such; else None."""
    if start >= len(text):
        return None
    sign = text[start]
    if sign in "\"'":
        return string_end(text, start)
    if sign in _OPENING:
        end = group_end(text, start)
        return end if end is not None and not free_names(text[start:end]) else None
    number = _NUMBER.match(text, start)
    if number is not None:
        return number.end()
    word = _WORD.match(text, start)
    return word.end() if word is not None and word.group() in _WORDS else None


def free_names(text: str) -> frozenset[str]:
    """Return the names in `text` that are neither in strings, nor plain values, nor members, nor keys before a colon."""
    return frozenset(word for word, _ in names(text) if word not in _WORDS)


def names(text: str) -> Iterator[tuple[str, int]]:
    """Yield each name outside of strings with its place, but for members (`a.name`) and keys (`name:`)."""
    place = 0
    while place < len(text):
        if text[place] in _QUOTES:
            place = string_end(text, place) or len(text)
            continue
        number = _NUMBER.match(text, place)
        if number is not None:
            place = number.end()
            continue
        word = _WORD.match(text, place)
        if word is None:
            place += 1
            continue
        is_member = place > 0 and text[place - 1] == "."
        is_key = text[word.end() :].lstrip(" ")[:1] == ":"
        if not is_member and not is_key:
            yield word.group(), place
        place = word.end()


def respelled(text: str, language: Language) -> str:
    """Return the plain value `text` with true, null and the like as `language` spells them."""
    spelling = _PYTHON if language is Language.PYTHON else _SCRIPT
    parts: list[str] = []
    last = 0
    for word, place in names(text):
        if word in spelling:
            parts += [text[last:place], spelling[word]]
            last = place + len(word)
    return "".join([*parts, text[last:]])


def arguments(call: str) -> tuple[str, ...] | None:
    """Return the texts of the arguments of the call that ends `call`; None where none does."""
    brackets = last_brackets(call)
    return None if brackets is None else parts(call[brackets[0] + 1 : brackets[1] - 1])


def asserted(text: str) -> tuple[str, str, str] | None:
    """Split an assertion at its first operator outside of brackets and strings: call, operator, the rest; None without one."""
    place = 0
    while place < len(text):
        if text[place] in _QUOTES:
            place = string_end(text, place) or len(text)
        elif text[place] in _OPENING:
            place = group_end(text, place) or len(text)
        else:
            operator = _OPERATOR.match(text, place)
            if operator is not None:
                return text[:place].strip(), operator.group().strip().lower(), text[operator.end() :].strip()
            place += 1
    return None


def last_brackets(call: str) -> tuple[int, int] | None:
    """Return where the brackets of the call that ends `call` begin, and the index behind them; None where none does."""
    length = len(call.rstrip().rstrip(";"))
    place = 0
    last: tuple[int, int] | None = None
    while place < length:
        if call[place] in _QUOTES:
            place = string_end(call, place) or length
        elif call[place] in _OPENING:
            end = group_end(call, place)
            if end is None:
                return None
            last = (place, end)
            place = end
        else:
            place += 1
    return last if last is not None and last[1] == length and call[last[0]] == "(" else None


def parts(text: str) -> tuple[str, ...]:
    """Split at the commas that stand outside of brackets and strings."""
    found: list[str] = []
    place = last = 0
    while place < len(text):
        if text[place] in _QUOTES:
            place = string_end(text, place) or len(text)
        elif text[place] in _OPENING:
            place = group_end(text, place) or len(text)
        elif text[place] == ",":
            found.append(text[last:place].strip())
            place = last = place + 1
        else:
            place += 1
    tail = text[last:].strip()
    return (*found, tail) if tail else tuple(found)
