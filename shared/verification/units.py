"""What claims are made about: the functions and classes at the top of the submitted code, each with the text that a model may see.

A model sees code without comments and docstrings, so that none of them can talk it into a verdict; and a second derivation sees
only names and signatures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.source.blanking import without_comments
from shared.source.lines import lines_of
from shared.source.outline import Function, Kind, outline
from shared.source.results import Results, results

MOST_UNITS = 13
"""With three claims each they fill the 40 of one verification."""
MOST_SHOWN_CHARS = 2_600
_MOST_SIGNATURE_CHARS = 900
_MOST_METHODS = 12
_MOST_METHOD_CHARS = 160
_CLASS = re.compile(r"\bclass\b")
_ACCESSOR = re.compile(r"(?:static\s+|public\s+)*get\s|@(?:\w+\.)?(?:cached_)?property\b")
_HIDDEN = re.compile(r"_|constructor$")
_STATIC = re.compile(r"(?:(?:public|async|override)\s+)*static\b")
_SCRIPTS = frozenset({"javascript", "typescript"})
_DEFAULT = "default"
_DEFAULT_MODULE = "(await import(import.meta.url)).default"
_ASSIGNED = re.compile(r"(?P<left>(?:module\.)?exports(?:\.[A-Za-z_$][\w$]*)?)\s*=(?![=>])")
_EXPORTS_DEFAULT = re.compile(r"\bexport\s+default\b")
_BEFORE_PARAMETERS = re.compile(
    r"(?:[\w.]+\s*=\s*|export\s+default\s+)*(?:[A-Za-z_]\w*\s*:\s*)?(?:async\b)?\s*(?:function\b\s*\*?\s*(?:[\w$]+\s*(?=[(<]))?)?\s*"
)
_CLASS_HEAD = re.compile(r"\A.*?\bclass\b(?:\s+(?!extends\b)[\w$]+)?", re.DOTALL)
_STAND_IN = "exported"
_BLANK_LINES = re.compile(r"(?:[ \t]*\n){2,}")


@dataclass(frozen=True)
class Unit:
    """A function, or a class with its methods. `shown`: its text without comments, of a long one the beginning. Lines from 1.

    `signature`: of a class without its methods', which are in `method_signatures`. `accessors`: the methods that are read like fields,
    `statics`: those of the class itself, `asynchronous`: names that are awaited. `silent`: names that return no value, `raising`:
    names that raise errors of their own. `reached`: the expression that gives it where its name is bound to nothing.
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
    statics: frozenset[str] = frozenset()
    asynchronous: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    raising: frozenset[str] = frozenset()
    reached: str = ""

    @property
    def outside(self) -> str:
        """What the unit is called by from outside."""
        return self.reached or self.name

    @property
    def is_silent(self) -> bool:
        """True where no call of it returns a value: what it does can only be seen elsewhere."""
        return self.silent.issuperset(self.methods) if self.is_class else self.name in self.silent

    @property
    def kind(self) -> str:
        """The word for it."""
        return "class" if self.is_class else "function"


def units(code: str, language: str) -> tuple[Unit, ...]:
    """Return the functions, and the classes with methods, that can be called from outside; a name defined twice counts as it ends."""
    functions = outline(code, language).functions
    bare = without_comments(code, language)
    lines = lines_of(bare)
    given = results(code, language)
    is_script = language in _SCRIPTS
    found: dict[str, Unit] = {}
    for function in functions:
        is_exported_part = is_script and _is_part_of_default(function, functions)
        if not is_exported_part and not _is_reachable(function, functions):
            continue
        found.pop(function.name, None)
        reached = _reached(function, bare, is_part=is_exported_part) if is_script else ""
        found[function.name] = replace(_unit(function, functions, lines, bare, given), reached=reached)
    return tuple(unit for unit in found.values() if unit.methods or not unit.is_class)


def nameable(unit: Unit) -> Unit:
    """Return the unit as a second derivation is told of it: what only an export or an object's key names is declared by that name."""
    if not unit.reached:
        return unit
    name = _STAND_IN if unit.name == _DEFAULT else unit.name
    if unit.is_class:
        return replace(unit, name=name, signature=_CLASS_HEAD.sub(f"class {name}", unit.signature, count=1))
    head = _BEFORE_PARAMETERS.match(unit.signature)
    told = unit.signature[head.end() if head else 0 :].removesuffix("=>").rstrip().removeprefix(unit.name)
    is_async = "async " if unit.name in unit.asynchronous else ""
    parameters = told if told.startswith(("(", "<")) else f"({told})"
    return replace(unit, name=name, signature=f"{is_async}function {name}{parameters}")


def exporting(code: str, language: str, unit: Unit) -> str:
    """Return the code of a second derivation of `unit` so that it is reached in the same way as the unit."""
    if not unit.reached:
        return code
    names = (nameable(unit).name, unit.name)
    own = next((one for one in units(code, language) if one.name in names), None)
    if own is None or own.reached == unit.reached:
        return code
    if not unit.reached.startswith(_DEFAULT_MODULE):
        return f"{code}{unit.reached} = {own.outside};\n"
    given = f"{{ {own.name}: {own.outside} }}" if unit.reached != _DEFAULT_MODULE else own.outside
    return f"{code}export default {given};\n"


def _is_part_of_default(function: Function, functions: Sequence[Function]) -> bool:
    """Tell whether it is a function of the plain object that a module exports."""
    return (
        function.qualified == f"{_DEFAULT}.{function.name}"
        and function.kind is not Kind.CLASS
        and function.name.isidentifier()
        and not any(other.qualified == _DEFAULT for other in functions)
    )


def _reached(function: Function, bare: str, *, is_part: bool) -> str:
    """Return the expression that gives a function of a script where its name does not: what only `exports` or `default` holds."""
    is_default = _EXPORTS_DEFAULT.search(bare) is not None
    if is_part:
        return f"{_DEFAULT_MODULE if is_default else 'module.exports'}.{function.name}"
    assigned = _ASSIGNED.match(function.signature)
    if assigned is not None:
        return assigned["left"]
    return _DEFAULT_MODULE if function.name == _DEFAULT else ""


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


def _unit(function: Function, functions: Sequence[Function], lines: Sequence[str], bare: str, given: Results) -> Unit:
    is_class = function.kind is Kind.CLASS
    methods = [other for other in functions if is_class and other.qualified == f"{function.qualified}.{other.name}"]
    own = "".join(lines[function.first_line - 1 : function.last_line])
    whole = bare if len(bare) <= MOST_SHOWN_CHARS else own
    return Unit(
        name=function.name,
        is_class=is_class,
        signature=function.signature.strip()[:_MOST_SIGNATURE_CHARS],
        shown=_shown(whole, [lines[function.first_line - 1 : method.last_line] for method in methods]),
        parameters=tuple(function.parameters),
        methods=tuple(
            method.name for method in methods if method.name.isidentifier() and _HIDDEN.match(method.name) is None
        ),
        first_line=function.first_line,
        last_line=function.last_line,
        method_signatures=tuple(method.signature.strip()[:_MOST_METHOD_CHARS] for method in methods[:_MOST_METHODS]),
        accessors=frozenset(method.name for method in methods if _ACCESSOR.match(method.signature.strip())),
        statics=frozenset(method.name for method in methods if _STATIC.match(method.signature.strip())),
        asynchronous=frozenset(one.name for one in (function, *methods) if one.is_async) - given.yielding,
        silent=given.silent,
        raising=given.raising,
    )


def _shown(text: str, heads: Sequence[Sequence[str]]) -> str:
    """Return the text; of one that is too long the longest head that ends with a method, else whole lines, and `…` for the rest."""
    squeezed = _BLANK_LINES.sub("\n", text).strip("\n")
    if len(squeezed) <= MOST_SHOWN_CHARS:
        return squeezed
    room = MOST_SHOWN_CHARS - 2
    ending = [_BLANK_LINES.sub("\n", "".join(head)).strip("\n") for head in heads]
    fitting = [head for head in ending if len(head) <= room]
    lines = squeezed[:room].rpartition("\n")[0] or squeezed[:room]
    return f"{max(fitting, key=len, default=lines)}\n…"
