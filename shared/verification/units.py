"""What claims are made about: the functions and classes at the top of the submitted code, each with the text that a model may see.

A model sees code without comments and docstrings, so that none of them can talk it into a verdict; and a second derivation sees
only names and signatures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.source.blanking import without_comments
from shared.source.lines import lines_of
from shared.source.outline import Function, Kind, outline

MOST_UNITS = 13
"""With three claims each they fill the 40 of one verification."""
MOST_SHOWN_CHARS = 2_600
_MOST_SIGNATURE_CHARS = 900
_MOST_METHODS = 12
_MOST_METHOD_CHARS = 160
_CLASS = re.compile(r"\bclass\b")
_ACCESSOR = re.compile(r"(?:static\s+|public\s+)*get\s|@(?:\w+\.)?(?:cached_)?property\b")
_HIDDEN = re.compile(r"_|constructor$")
_BLANK_LINES = re.compile(r"(?:[ \t]*\n){2,}")


@dataclass(frozen=True)
class Unit:
    """A function, or a class with its methods. `shown`: its text without comments, cut to 2,600 characters. Lines from 1.

    `signature`: of a class without its methods', which are in `method_signatures`. `accessors`: the methods that are read like fields.
    """

    name: str
    is_class: bool
    signature: str
    shown: str
    parameters: tuple[str, ...]
    methods: tuple[str, ...]
    first_line: int
    last_line: int
    method_signatures: tuple[str, ...] = ()
    accessors: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The word for it."""
        return "class" if self.is_class else "function"


def units(code: str, language: str) -> tuple[Unit, ...]:
    """Return the functions, and the classes with methods, that can be called from outside; a name defined twice counts as it ends."""
    functions = outline(code, language).functions
    bare = without_comments(code, language)
    lines = lines_of(bare)
    found: dict[str, Unit] = {}
    for function in functions:
        if not _is_reachable(function, functions):
            continue
        found.pop(function.name, None)
        found[function.name] = _unit(function, functions, lines, bare)
    return tuple(unit for unit in found.values() if unit.methods or not unit.is_class)


def _is_reachable(function: Function, functions: Sequence[Function]) -> bool:
    """Tell whether it stands at the top: neither a method nor inside of another."""
    if function.kind is Kind.METHOD or "." in function.qualified or not function.name.isidentifier():
        return False
    if function.kind is Kind.CLASS and _CLASS.search(function.signature) is None:
        return False
    return not any(
        other is not function
        and other.first_line <= function.first_line
        and function.last_line <= other.last_line
        and other.kind is not Kind.CLASS
        and (other.first_line, other.last_line) != (function.first_line, function.last_line)
        for other in functions
    )


def _unit(function: Function, functions: Sequence[Function], lines: Sequence[str], bare: str) -> Unit:
    is_class = function.kind is Kind.CLASS
    methods = [other for other in functions if is_class and other.qualified == f"{function.qualified}.{other.name}"]
    own = "".join(lines[function.first_line - 1 : function.last_line])
    whole = bare if len(bare) <= MOST_SHOWN_CHARS else own
    return Unit(
        name=function.name,
        is_class=is_class,
        signature=function.signature.strip()[:_MOST_SIGNATURE_CHARS],
        shown=_BLANK_LINES.sub("\n", whole).strip("\n")[:MOST_SHOWN_CHARS],
        parameters=tuple(function.parameters),
        methods=tuple(
            method.name for method in methods if method.name.isidentifier() and _HIDDEN.match(method.name) is None
        ),
        first_line=function.first_line,
        last_line=function.last_line,
        method_signatures=tuple(method.signature.strip()[:_MOST_METHOD_CHARS] for method in methods[:_MOST_METHODS]),
        accessors=frozenset(method.name for method in methods if _ACCESSOR.match(method.signature.strip())),
    )
