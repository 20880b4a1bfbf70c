"""Values as the Python sandbox encodes them: decoded, compared and written as text, outside the sandbox.

An encoding is a small JSON tree of typed nodes: `["n"]` None, `["b", true]`, `["i", hex]`, `["f", repr]`, `["c", re, im]`,
`["s", text]`, `["y", kind, hex]` bytes, `["l", items]`, `["t", items]` tuple, `["S", kind, items]` set, `["d", pairs]`,
`["N", kind, text]` Decimal and Fraction, `["u", name, node]` a class or view over a builtin one, `["x", name, node]` an iterator that
was cut off, `["o", name, repr, fields]` any other object, `["@", levels up]` a cycle. It comes from beside hostile code, so its shapes
are checked: `Malformed`, or an error of Python's own, is raised for what is none of these.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

TOLERANCE = 1e-9
_LARGEST_COUNTED = (
    2**43
)  # floats up to here that are integers are some number of things: rounding moves none of them by one
MOST_PAIRED = 300
_MOST_DECIMAL_BITS = 6_000
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

Node = list[Any]


class Malformed(Exception):
    """The encoding is not one: whoever wrote it was not our harness."""


def text_of(node: Node, *, most: int) -> str:
    """Return the value in Python's notation, at most about `most` characters: what is longer ends in an ellipsis."""
    writer = _Writer(most)
    writer.write(node)
    return writer.text()


def equal(expected: Node, actual: Node) -> bool:
    """Compare strictly: types and values all the way down, NaN equal to NaN.

    Floats: within 1e-9 of the expected one, relative; absolute where that is 0. Two that are integers, up to 2**43, exactly.
    """
    return _Comparison(is_loose=False).same(expected, actual)


def alike(expected: Node, actual: Node) -> bool:
    """Compare without telling list and tuple, 1 and 1.0, a class over a builtin one and that builtin apart."""
    return _Comparison(is_loose=True).same(expected, actual)


def equal_in_python(expected: Node, actual: Node) -> bool:
    """Compare as Python's own == does, but for floats, which need only be near: 1, 1.0 and True are one, list and tuple are not."""
    return _OwnEquality().same(expected, actual)


def digest_of(node: Node) -> str:
    """Return what two values share that differ in nothing but the order of their sets, keys and fields."""
    return hashlib.sha256(_ordered(node).encode("utf-8", "surrogatepass")).hexdigest()


def _shape(node: object) -> str:
    if isinstance(node, list) and node and isinstance(node[0], str) and len(node) <= 4:
        return node[0]
    raise Malformed


def _part(node: Node, index: int, kind: type) -> Any:
    if len(node) <= index or not isinstance(node[index], kind):
        raise Malformed
    return node[index]


def _number(node: Node) -> int | float | complex | Decimal | Fraction:
    """Return the number of an `i`, `f`, `c` or `N` node."""
    try:
        match _shape(node):
            case "i":
                return int(_part(node, 1, str), 16)
            case "f":
                return float(_part(node, 1, str))
            case "c":
                return complex(float(_part(node, 1, str)), float(_part(node, 2, str)))
            case "N" if _part(node, 1, str) == "Decimal":
                return Decimal(_part(node, 2, str))
            case "N":
                return Fraction(_part(node, 2, str))
    except (ValueError, ArithmeticError):
        raise Malformed from None
    raise Malformed


def _pairs(node: object) -> list[tuple[Node, Node]]:
    if not isinstance(node, list):
        raise Malformed
    for pair in node:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed
    return [(pair[0], pair[1]) for pair in node]


def _near(expected: float, actual: float) -> bool:
    if math.isnan(expected) or math.isnan(actual):
        return math.isnan(expected) and math.isnan(actual)
    if expected.is_integer() and actual.is_integer() and max(abs(expected), abs(actual)) <= _LARGEST_COUNTED:
        return expected == actual
    return math.isclose(expected, actual, rel_tol=TOLERANCE, abs_tol=0.0 if expected else TOLERANCE)


def _ordered(node: Node) -> str:
    """Return the node as text, members of what has no order sorted. A class's own repr counts only where there are no fields."""
    match _shape(node):
        case "l" | "t":
            return f"{node[0]}[{','.join(map(_ordered, _part(node, 1, list)))}]"
        case "S":
            return f"S{json.dumps(node[1])}[{','.join(sorted(map(_ordered, _part(node, 2, list))))}]"
        case "d":
            return f"d{_ordered_pairs(_pairs(_part(node, 1, list)))}"
        case "u" | "x":
            return f"{node[0]}{json.dumps(node[1])}({_ordered(_part(node, 2, list))})"
        case "o" if len(node) > 3 and node[3]:
            return f"o{json.dumps(node[1])}{_ordered_pairs(_pairs(node[3]))}"
        case "o":
            return f"o{json.dumps([node[1], _without_address(_part(node, 2, str))])}"
    return json.dumps(node)


def _ordered_pairs(pairs: Iterable[tuple[Node, Node]]) -> str:
    return f"[{','.join(sorted(f'{_ordered(key)}:{_ordered(value)}' for key, value in pairs))}]"


class _Comparison:
    def __init__(self, *, is_loose: bool) -> None:
        self._is_loose = is_loose

    def same(self, left: Node, right: Node) -> bool:
        left, right = self._plain(left), self._plain(right)
        shape, other = _shape(left), _shape(right)
        if shape in "ifcN" and other in "ifcN":
            return self._same_number(left, right)
        if self._is_loose and shape in "lt" and other in "lt":
            return self._same_items(left[1], right[1])
        if shape != other:
            return False
        return self._same_shape(shape, left, right)

    def _plain(self, node: Node) -> Node:
        while self._is_loose and _shape(node) == "u":
            node = _part(node, 2, list)
        return node

    def _same_shape(self, shape: str, left: Node, right: Node) -> bool:
        match shape:
            case "n" | "b" | "s" | "@":
                return bool(left[1:] == right[1:])
            case "y":
                return left[2:] == right[2:] and (self._is_loose or left[1] == right[1])
            case "l" | "t":
                return self._same_items(left[1], right[1])
            case "S":
                kinds = self._is_loose or left[1] == right[1]
                return kinds and self._same_bag(
                    _part(left, 2, list), _part(right, 2, list), lambda item: item, self.same
                )
            case "d":
                return self._same_bag(_pairs(left[1]), _pairs(right[1]), lambda pair: pair[0], self._same_pair)
            case "u":
                return left[1] == right[1] and self.same(_part(left, 2, list), _part(right, 2, list))
            case "o":
                return self._same_object(left, right)
        if shape == "x":
            return False
        raise Malformed

    def _same_number(self, left: Node, right: Node) -> bool:
        if not self._is_loose and left[0] != right[0]:
            return False
        if left[0] == right[0] == "N" and left[1] != right[1] and not self._is_loose:
            return False
        one, two = _number(left), _number(right)
        if isinstance(one, complex) or isinstance(two, complex):
            return _same_complex(one, two)
        if isinstance(one, float) or isinstance(two, float):
            return _same_float(one, two)
        if isinstance(one, Decimal) and isinstance(two, Decimal) and (one.is_nan() or two.is_nan()):
            return one.is_nan() and two.is_nan()
        return bool(_exact(one) == _exact(two))

    def _same_items(self, left: object, right: object) -> bool:
        if not isinstance(left, list) or not isinstance(right, list):
            raise Malformed
        return len(left) == len(right) and all(self.same(one, two) for one, two in zip(left, right, strict=True))

    def _same_pair(self, left: tuple[Node, Node], right: tuple[Node, Node]) -> bool:
        return self.same(left[0], right[0]) and self.same(left[1], right[1])

    def _same_bag(
        self, left: Sequence[Any], right: Sequence[Any], key: Callable[[Any], Node], same: Callable[[Any, Any], bool]
    ) -> bool:
        """Pair off members without regard to order: by their exact text first, the few that are left by comparing."""
        if len(left) != len(right):
            return False
        waiting: dict[str, list[Any]] = {}
        for member in right:
            waiting.setdefault(self._word(key(member)), []).append(member)
        rest = []
        for member in left:
            partners = waiting.get(self._word(key(member)))
            if partners and same(member, partners[-1]):
                partners.pop()
            else:
                rest.append(member)
        others = [member for members in waiting.values() for member in members]
        return len(rest) <= MOST_PAIRED and _paired(rest, others, same)

    def _word(self, node: Node) -> str:
        return text_of(self._plain(node), most=10_000)

    def _same_object(self, left: Node, right: Node) -> bool:
        if left[1:2] != right[1:2] or len(left) != 4 or len(right) != 4:
            return False
        if _without_address(left[2]) != _without_address(right[2]):
            return False
        if left[3] is None or right[3] is None:
            return left[3] is right[3] is None and bool(left[2])
        return self._same_bag(_pairs(left[3]), _pairs(right[3]), lambda pair: pair[0], self._same_pair)


class _OwnEquality(_Comparison):
    """What Python's == gives for values that keep their builtin's own comparison."""

    def __init__(self) -> None:
        super().__init__(is_loose=True)

    def same(self, left: Node, right: Node) -> bool:
        left, right = self._plain(left), self._plain(right)
        if {_shape(left), _shape(right)} == {"l", "t"}:
            return False
        if {_shape(left), _shape(right)} == {"N", "f"}:
            return _same_exactly(_number(left), _number(right))
        return super().same(left, right)

    def _plain(self, node: Node) -> Node:
        """Return a bool as its number, and what a class over a builtin one holds; a range, a deque or an iterator is no list."""
        while _shape(node) == "u" and _shape(_part(node, 2, list)) != "l":
            node = _part(node, 2, list)
        return ["i", "1" if node[1:] == [True] else "0"] if _shape(node) == "b" else node


def _same_exactly(one: Any, two: Any) -> bool:
    """Compare a Decimal or Fraction with a float, as Python does: to the last bit."""
    try:
        return bool(Fraction(one) == Fraction(two)) if _is_small(one) and _is_small(two) else False
    except (ValueError, OverflowError):
        return False  # NaN and infinity are no fractions


def _is_small(number: Any) -> bool:
    return not isinstance(number, Decimal) or isinstance(_exact(number), Fraction)


def _paired(rest: list[Any], others: list[Any], same: Callable[[Any, Any], bool]) -> bool:
    for member in rest:
        partner = next((index for index, other in enumerate(others) if same(member, other)), None)
        if partner is None:
            return False
        others.pop(partner)
    return not others


def _same_complex(one: Any, two: Any) -> bool:
    try:
        left, right = complex(one), complex(two)
    except (TypeError, OverflowError):
        return False
    return _near(left.real, right.real) and _near(left.imag, right.imag)


def _same_float(one: Any, two: Any) -> bool:
    try:
        return _near(float(one), float(two))
    except (OverflowError, ValueError):
        return False


def _exact(number: Any) -> Any:
    """A number that can be compared without rounding; an infinite Decimal stays what it is."""
    if isinstance(number, Decimal):
        # A Fraction of 1E+999999999 would fill the memory: such a Decimal is compared with other Decimals only.
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and abs(exponent) < 10_000:
            return Fraction(number)
        return number
    return number


def _without_address(text: object) -> str:
    if not isinstance(text, str):
        raise Malformed
    return _ADDRESS.sub("", text)


class _Writer:
    """Writes a node in Python's notation until it has written enough."""

    def __init__(self, most: int) -> None:
        self._room = most
        self._parts: list[str] = []

    def text(self) -> str:
        return "".join(self._parts)

    def write(self, node: Node) -> None:
        if self._room <= 0:
            return
        match _shape(node):
            case "n":
                self._add("None")
            case "b":
                self._add("True" if node[1:] == [True] else "False")
            case "i" | "f" | "c":
                self._add(_number_text(node))
            case "N":
                self._add(f"{_part(node, 1, str)}({_part(node, 2, str)!r})")
            case "s":
                self._add(repr(_part(node, 1, str)[: self._room + 1]))
            case "y":
                self._add(_bytes_text(node, self._room))
            case "@":
                self._add("<cycle>")
            case _:
                self._write_compound(node)

    def _write_compound(self, node: Node) -> None:
        match _shape(node):
            case "l":
                self._items("[", _part(node, 1, list), "]")
            case "t":
                items = _part(node, 1, list)
                self._items("(", items, ",)" if len(items) == 1 else ")")
            case "S":
                self._set(_part(node, 1, str), _part(node, 2, list))
            case "d":
                self._dict(_pairs(_part(node, 1, list)))
            case "u":
                self._wrapped(_part(node, 1, str), _part(node, 2, list), ")")
            case "x":
                self._wrapped(_part(node, 1, str), _part(node, 2, list), ", and so on)")
            case "o":
                self._object(node)
            case _:
                raise Malformed

    def _add(self, text: str) -> None:
        if len(text) > self._room:
            text = text[: max(0, self._room - 1)] + "…"
            self._room = 0
        self._room -= len(text)
        self._parts.append(text)

    def _items(self, before: str, items: Sequence[Node], after: str) -> None:
        self._add(before)
        for index, item in enumerate(items):
            if self._room <= 0:
                return
            if index:
                self._add(", ")
            self.write(item)
        if self._room > 0:
            self._add(after)

    def _set(self, kind: str, items: list[Node]) -> None:
        ordered = sorted(items, key=lambda item: text_of(item, most=200))
        if not items:
            self._add(f"{kind}()")
        elif kind == "set":
            self._items("{", ordered, "}")
        else:
            self._items(f"{kind}({{", ordered, "})")

    def _dict(self, pairs: list[tuple[Node, Node]]) -> None:
        self._add("{")
        for index, (key, value) in enumerate(pairs):
            if self._room <= 0:
                return
            if index:
                self._add(", ")
            self.write(key)
            if self._room > 0:
                self._add(": ")
            self.write(value)
        if self._room > 0:
            self._add("}")

    def _wrapped(self, name: str, node: Node, after: str) -> None:
        self._add(f"{name}(")
        self.write(node)
        if self._room > 0:
            self._add(after)

    def _object(self, node: Node) -> None:
        name, shown, fields = (
            _part(node, 1, str),
            _without_address(_part(node, 2, str)),
            node[3] if len(node) > 3 else None,
        )
        if shown:
            self._add(shown)
            return
        self._add(f"{name}(")
        for index, (key, value) in enumerate(_pairs(fields) if fields is not None else []):
            if self._room <= 0:
                return
            self._add((", " if index else "") + (str(key[1]) if key[0] == "s" else "?") + "=")
            if self._room > 0:
                self.write(value)
        if self._room > 0:
            self._add(")")


def _number_text(node: Node) -> str:
    number = _number(node)
    if isinstance(number, int) and number.bit_length() > _MOST_DECIMAL_BITS:
        return f"<int of {number.bit_length()} bits, {hex(number)[:40]}…>"
    return repr(number)


def _bytes_text(node: Node, room: int) -> str:
    try:
        content = bytes.fromhex(_part(node, 2, str)[: 2 * (room + 1)])
    except ValueError:
        raise Malformed from None
    return repr(content) if _part(node, 1, str) == "bytes" else f"bytearray({content!r})"
