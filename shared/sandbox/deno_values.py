"""Read, write out and compare the values that deno's harness encodes.

A node is `[tag, …]`: `u` undefined, `0` null, `t`/`f`, `n` number and `b` bigint (as JavaScript writes them), `s` string, `a` array, `h` a
hole in it, `o` object, `m` Map, `S` Set, `i` what an iterator gave, `d` Date, `r` RegExp, `e` Error, `y` typed array, `c` a cycle (levels
up), `x` what cannot be looked into (functions, symbols, accessors), `…` what was cut off (the beginning of a string, or nothing).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Node = list[Any]

_PLAIN = {"u": "undefined", "0": "null", "t": "true", "f": "false", "h": "<empty>"}
_LISTS = ("a", "y", "i")
_NOTHING = ("u", "0", "h")
_LARGEST_EXACT = 2**53
_MOST_PAIRED = 200  # items of a Set or Map without an equal text, compared each with each


def written(node: Node) -> str:
    """Return a node as canonical text in JavaScript's notation."""
    tag = node[0]
    if tag in _PLAIN:
        return _PLAIN[tag]
    return _WRITERS[tag](node)


def same(left: Node, right: Node, *, lenient: bool) -> bool | None:
    """Compare a value with the expected one, all the way down; None where they differ in nothing that can be seen, but not all can be seen.

    Numbers: within 1e-9 of the expected one, relative, absolute where that is 0; integers up to 2**53 exactly; NaN equals NaN, -0 equals 0.
    The order of keys, and of the items of a Map or Set, does not count; nor does a missing prototype. Lenient: a bigint equals its number,
    null equals undefined (a hole, a missing key), a typed array its array, what an iterator gave the array of it, and a class's instance
    the plain object with the same fields.
    """
    if "…" in (left[0], right[0]) or "x" in (left[0], right[0]):
        return None if _may_be_same(left, right) else False
    if lenient and left[0] in _NOTHING and right[0] in _NOTHING:
        return True
    if left[0] in ("n", "b") and right[0] in ("n", "b"):
        return (lenient or left[0] == right[0]) and _same_number(left, right)
    if left[0] in _LISTS and right[0] in _LISTS:
        return (lenient or left[:2] == right[:2]) and _all_same(left[2], right[2], lenient=lenient)
    if left[0] != right[0]:
        return False
    if left[0] in _CONTAINERS:
        return (lenient or left[1] == right[1]) and _CONTAINERS[left[0]](left[2], right[2], lenient)
    return bool(left == right)


def _may_be_same(left: Node, right: Node) -> bool:
    return "…" in (left[0], right[0]) or bool(left[0] == right[0])


def _same_number(left: Node, right: Node) -> bool:
    if "b" in (left[0], right[0]):
        return bool(left[1] == right[1])
    one, other = float(left[1]), float(right[1])
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if one.is_integer() and other.is_integer() and max(abs(one), abs(other)) <= _LARGEST_EXACT:
        return one == other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=0.0 if other else 1e-9)


def _both(answers: Iterable[bool | None]) -> bool | None:
    unsure = False
    for answer in answers:
        if answer is False:
            return False
        unsure = unsure or answer is None
    return None if unsure else True


def _all_same(left: Sequence[Node], right: Sequence[Node], *, lenient: bool) -> bool | None:
    seen, other = _whole(left), _whole(right)
    known = min(len(seen), len(other))
    answer = _both(same(one, two, lenient=lenient) for one, two in zip(seen[:known], other[:known], strict=True))
    if seen is left and other is right:
        return answer if len(left) == len(right) else False
    is_longer = (seen is left and len(left) <= len(other)) or (other is right and len(right) <= len(seen))
    return False if answer is False or is_longer else None


def _whole(items: Sequence[Node]) -> Sequence[Node]:
    """Return the items without the mark that more of them were cut off."""
    return items[:-1] if items and items[-1] == ["…"] else items


def _same_fields(left: Sequence[Any], right: Sequence[Any], lenient: bool) -> bool | None:
    one, other = dict(left), dict(right)
    if "…" in one or "…" in other:
        return None
    if not lenient and one.keys() != other.keys():
        return False
    missing: Node = ["u"]
    return _both(same(one.get(key, missing), other.get(key, missing), lenient=lenient) for key in one | other)


def _same_entries(left: Sequence[Any], right: Sequence[Any], lenient: bool) -> bool | None:
    cut: Node = ["…"]
    entries = [[cut if pair[0] == cut else ["a", "", list(pair)] for pair in each] for each in (left, right)]
    return _same_members(entries[0], entries[1], lenient)


def _same_members(left: Sequence[Node], right: Sequence[Node], lenient: bool) -> bool | None:
    if _whole(left) is not left or _whole(right) is not right:
        return None
    if len(left) != len(right):
        return False
    unmatched: dict[str, list[Node]] = {}
    for node in right:
        unmatched.setdefault(json.dumps(node), []).append(node)
    odd = [node for node in left if not _took(unmatched, json.dumps(node))]
    rest = [node for nodes in unmatched.values() for node in nodes]
    if len(odd) > _MOST_PAIRED:
        return None
    return _both(_paired(node, rest, lenient) for node in odd)


def _took(unmatched: dict[str, list[Node]], text: str) -> bool:
    if not unmatched.get(text):
        return False
    unmatched[text].pop()
    return True


def _paired(node: Node, rest: list[Node], lenient: bool) -> bool | None:
    unsure = False
    for at, other in enumerate(rest):
        answer = same(node, other, lenient=lenient)
        if answer:
            del rest[at]
            return True
        unsure = unsure or answer is None
    return None if unsure else False


_CONTAINERS: dict[str, Callable[[Sequence[Any], Sequence[Any], bool], bool | None]] = {
    "o": _same_fields,
    "m": _same_entries,
    "S": _same_members,
}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _named(node: Node, plain: str) -> str:
    name = node[1] if node[1] not in ("", plain) else plain
    return f"{name} " if name else ""


def _array(node: Node) -> str:
    return f"{_named(node, '')}[{', '.join(map(written, node[2]))}]"


def _object(node: Node) -> str:
    return f"{_named(node, '')}{{{', '.join(f'{_quoted(key)}: {written(value)}' for key, value in node[2])}}}"


def _map(node: Node) -> str:
    entries = ", ".join(f"{written(key)} => {written(value)}" for key, value in node[2])
    return f"{node[1] or 'Map'}({len(node[2])}) {{{entries}}}"


def _set(node: Node) -> str:
    return f"{node[1] or 'Set'}({len(node[2])}) {{{', '.join(map(written, node[2]))}}}"


_WRITERS: dict[str, Callable[[Node], str]] = {
    "n": lambda node: str(node[1]),
    "b": lambda node: f"{node[1]}n",
    "s": lambda node: _quoted(node[1]),
    "a": _array,
    "y": _array,
    "i": _array,
    "o": _object,
    "m": _map,
    "S": _set,
    "d": lambda node: f"Date({node[1]})",
    "r": lambda node: str(node[1]),
    "e": lambda node: f"{node[1]}({_quoted(node[2])})",
    "c": lambda node: f"<cycle, {node[1]} up>",
    "x": lambda node: str(node[1]),
    "…": lambda node: "".join(map(_quoted, node[1:])) + "…",
}
