"""Writes a Python value as typed JSON, from inside the interpreter of the sandbox: the first half of `python_harness`. Read by `values`."""

from __future__ import annotations

import sys
from _json import encode_basestring_ascii as quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ModuleType = type(sys)
MOST_NODES = 10_000
MOST_DEPTH = 60
MOST_CHARS = 256 * 1024
MOST_YIELDED = 200

base_of_type = type.__dict__["__mro__"].__get__
own_name_of_type = type.__dict__["__name__"].__get__


def name_of_type(kind: type) -> str:
    """Return the name of a class, whatever its metaclass says."""
    return str(own_name_of_type(kind))


class TooBig(Exception):
    """The value is bigger than what may leave the sandbox."""


class Encoder:
    """Writes a value as typed JSON, bounded. Looks at exact types, so that no class of the code can pose as another."""

    def __init__(self) -> None:
        self.nodes = 0
        self.chars = 0
        self.within: dict[int, int] = {}

    def text(self, value: Any) -> str:
        """Return the encoding of `value`. Raises `TooBig`, and whatever iterating it raises."""
        self.nodes += 1
        if self.nodes > MOST_NODES or len(self.within) > MOST_DEPTH:
            raise TooBig
        encoded = self._scalar(value)
        if encoded is not None:
            self.chars += len(encoded)
            if self.chars > MOST_CHARS:
                raise TooBig
            return encoded
        number = id(value)
        if number in self.within:
            return '["@",' + str(len(self.within) - self.within[number]) + "]"
        self.within[number] = len(self.within)
        text = self._compound(value)
        del self.within[number]
        return text

    def _scalar(self, value: Any) -> str | None:
        kind = type(value)
        if value is None:
            return '["n"]'
        if kind is bool:
            return '["b",true]' if value else '["b",false]'
        if kind is int:
            return '["i","' + format(value, "x") + '"]'
        if kind is float:
            return '["f","' + float.__repr__(value) + '"]'
        if kind is complex:
            return '["c","' + float.__repr__(value.real) + '","' + float.__repr__(value.imag) + '"]'
        if kind is str:
            return self._string(str(value))
        if kind is bytes or kind is bytearray:
            return f'["y","{kind.__name__}","{self._fits(value, 2).hex()}"]'
        return None

    def _string(self, value: str) -> str:
        return '["s",' + quoted(self._fits(value, 1)) + "]"

    def _fits(self, value: Any, factor: int) -> Any:
        if len(value) * factor > MOST_CHARS:
            raise TooBig
        return value

    def _compound(self, value: Any) -> str:
        kind = type(value)
        if kind is list:
            return '["l",' + self._items(value) + "]"
        if kind is tuple:
            return '["t",' + self._items(value) + "]"
        if kind is set or kind is frozenset:
            return '["S","' + kind.__name__ + '",' + self._items(value) + "]"
        if kind is dict:
            return '["d",' + self._pairs(value) + "]"
        return self._derived(value, kind)

    def _items(self, values: Any) -> str:
        if len(values) > MOST_NODES:
            raise TooBig
        return "[" + ",".join([self.text(value) for value in values]) + "]"

    def _pairs(self, mapping: dict[Any, Any]) -> str:
        pairs = ["[" + self.text(key) + "," + self.text(value) + "]" for key, value in dict.items(mapping)]
        return "[" + ",".join(pairs) + "]"

    def _derived(self, value: Any, kind: type) -> str:
        name = name_of_type(kind)
        mro = base_of_type(kind)
        number = self._number(value, kind, name)
        if number is not None:
            return number
        plain = self._plain(value, mro, name)
        if plain is not None:
            return '["u",' + quoted(name) + "," + plain + "]"
        if any("__next__" in vars(base) for base in mro):
            return self._iterator(value, name)
        return self._object(value, kind, name, mro)

    def _number(self, value: Any, kind: type, name: str) -> str | None:
        if name == "Decimal" and kind is getattr(sys.modules.get("_decimal"), "Decimal", None):
            return '["N","Decimal",' + quoted(str(value)) + "]"
        if name == "Fraction" and kind is getattr(sys.modules.get("fractions"), "Fraction", None):
            return '["N","Fraction",' + quoted(str(value)) + "]"
        return None

    def _plain(self, value: Any, mro: tuple[type, ...], name: str) -> str | None:
        """The value of a class derived from a builtin one, written as the builtin would be."""
        if name in ("range", "deque", "dict_keys", "dict_values", "dict_items") and len(mro) == 2:
            return '["l",' + self._items(list(value)) + "]"
        for base, plain in PLAIN_FORMS:
            if base in mro:
                return self.text(plain(value))
        return None

    def _iterator(self, value: Any, name: str) -> str:
        items: list[str] = []
        for item in value:
            if len(items) == MOST_YIELDED:
                return '["x",' + quoted(name) + ',["l",[' + ",".join(items) + "]]]"
            items.append(self.text(item))
        return '["u",' + quoted(name) + ',["l",[' + ",".join(items) + "]]]"

    def _object(self, value: Any, kind: type, name: str, mro: tuple[type, ...]) -> str:
        fields = None if kind in (type, ModuleType) or callable(value) else fields_of(value)
        shown = self._pairs(fields) if type(fields) is dict else "null"
        own_repr = next(vars(base)["__repr__"] for base in mro if "__repr__" in vars(base))
        text = "" if own_repr is vars(object)["__repr__"] else represented(value)
        self.chars += len(text)
        if self.chars > MOST_CHARS:
            raise TooBig
        return '["o",' + quoted(name) + "," + quoted(text) + "," + shown + "]"


PLAIN_FORMS = (
    (int, int.__int__),
    (float, lambda value: float.__add__(value, 0.0)),
    (str, str.__str__),
    (bytes, lambda value: bytes.__add__(value, b"")),
    (list, lambda value: list.__getitem__(value, slice(None))),
    (tuple, lambda value: tuple.__getitem__(value, slice(None))),
    (set, lambda value: {*set.__iter__(value)}),
    (frozenset, lambda value: frozenset([*frozenset.__iter__(value)])),
    (dict, lambda value: {**dict(dict.items(value))}),
)


def fields_of(value: Any) -> Any:
    """Return the object's own dictionary, past any __getattribute__ of its class; None where it has none."""
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


def represented(value: Any) -> str:
    """Return repr(value); says so where that fails."""
    try:
        return str(str.__str__(repr(value)))
    except MemoryError:
        raise
    except BaseException as error:
        return "<its repr raised " + name_of_type(type(error)) + ">"


def encoded(value: Any) -> str:
    """Return the encoding of `value`, or of the part of it that can be described. Raises `TooBig` and what iterating raises."""
    return Encoder().text(value)
