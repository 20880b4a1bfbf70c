"""What a text of source code declares: its functions, methods and classes, where each stands and how it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node

from shared.source.blanking import blanked_bytes
from shared.source.declarations import Declared, Kind, declared_by, exported_names
from shared.source.parameters import parameters_of
from shared.source.trees import Parsed, parse, walk

__all__ = ["Function", "Kind", "Outline", "outline"]

MOST_FUNCTIONS = 2000
MOST_FAULTS = 50
_LONGEST_NAME = 200
_LONGEST_SIGNATURE = 2000
_WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration"})
_STATEMENTS = frozenset({"lexical_declaration", "variable_declaration", "expression_statement", "type_declaration"})
_ASYNC = re.compile(r"\basync\b")


@dataclass(frozen=True)
class Function:
    """A declaration. Lines are counted from 1, both included; decorators belong to it.

    `qualified`: with the names of what it lies in, dots between. `parameters`: their names, with the stars or dots before them
    (in Python `*` and `/`, too). `signature`: its text up to the body, without comments. `is_exported`: seen from outside,
    by the rules of the language (Python: no name begins with an underscore, and it lies in no function).
    """

    name: str
    qualified: str
    parameters: tuple[str, ...]
    signature: str
    kind: Kind
    first_line: int
    last_line: int
    is_async: bool
    is_exported: bool


@dataclass(frozen=True)
class Outline:
    """The declarations in the order of the text, and the lines (at most 50) that the grammar cannot make sense of."""

    functions: tuple[Function, ...]
    fault_lines: tuple[int, ...]


@dataclass(frozen=True)
class _Entry:
    """A declaration and the byte behind it. Not listed: a namespace, an object, an implementation, here as classes."""

    function: Function
    end: int
    is_listed: bool


def outline(code: str, language: str) -> Outline:
    """Return what `code` declares, at most 2,000 declarations. Empty in a language without a grammar. Never raises."""
    parsed = parse(code, language)
    return Outline((), ()) if parsed is None else outline_of(parsed)


def outline_of(parsed: Parsed) -> Outline:
    """Return what a parsed text declares."""
    text = blanked_bytes(parsed)
    entries: list[_Entry] = []
    faults: set[int] = set()
    exported: set[str] = set()
    scopes: list[_Entry] = []
    for node, ancestors in walk(parsed.root):
        if (node.is_error or node.is_missing) and len(faults) < MOST_FAULTS:
            faults.add(parsed.line_of(node.start_byte))
        exported.update(exported_names(node, parsed))
        while scopes and scopes[-1].end <= node.start_byte:
            scopes.pop()
        declared = declared_by(node, ancestors, parsed) if len(entries) < MOST_FUNCTIONS else None
        if declared is not None:
            function = _function(declared, node, ancestors, parsed, scopes[-1].function if scopes else None, text)
            entries.append(_Entry(function, node.end_byte, declared.kind is not None))
            scopes.append(entries[-1])
    return Outline(tuple(_with_exports(entries, exported)), tuple(sorted(faults)))


def _function(
    declared: Declared, node: Node, ancestors: list[Node], parsed: Parsed, scope: Function | None, text: bytes
) -> Function:
    first = _outermost(node, ancestors)
    name = declared.name.rsplit(".", 1)[-1]
    is_method = declared.kind is Kind.FUNCTION and scope is not None and scope.kind is Kind.CLASS
    qualified = f"{scope.qualified}.{declared.name}" if scope else declared.name
    return Function(
        name=name,
        qualified=qualified[-_LONGEST_NAME:],
        parameters=() if declared.kind in (None, Kind.CLASS) else parameters_of(declared.value),
        signature=_signature(first, node, declared.value, text),
        kind=Kind.METHOD if is_method else declared.kind or Kind.CLASS,
        first_line=parsed.line_of(first.start_byte),
        last_line=parsed.last_line_of(node),
        is_async=_is_async(node, declared.value),
        is_exported=declared.is_exported and (scope is None or scope.kind is Kind.CLASS),
    )


def _outermost(node: Node, ancestors: list[Node]) -> Node:
    """Return the node with its decorators, its `export`, and the statement that it is the first part of."""
    first = node
    for ancestor in reversed(ancestors[-4:]):
        is_first = ancestor.type in _STATEMENTS and ancestor.named_child(0) == first
        if ancestor.type not in _WRAPPERS and not is_first:
            break
        first = ancestor
    return first


def _signature(first: Node, node: Node, value: Node, text: bytes) -> str:
    body = value.child_by_field_name("body") or node.child_by_field_name("body")
    last = value.child_by_field_name("parameters") or value.child_by_field_name("name")
    end = body.start_byte if body is not None else last.end_byte if last is not None else node.end_byte
    cut = text[first.start_byte : end][: 4 * _LONGEST_SIGNATURE].decode("utf-8", "replace").replace("\x00", " ")
    kept = "\n".join(line.rstrip() for line in cut.splitlines() if line.strip())
    return kept.strip().removesuffix("{").rstrip()[:_LONGEST_SIGNATURE]


def _is_async(node: Node, value: Node) -> bool:
    for part in (node, value):
        for child in part.children[:6]:
            if child.type == "async" or (child.type == "function_modifiers" and _ASYNC.search(str(child.text))):
                return True
    return False


def _with_exports(entries: Sequence[_Entry], exported: set[str]) -> Iterator[Function]:
    """Yield the functions anew: exported by name elsewhere, and hidden where what they lie in is."""
    hidden: set[str] = set()
    for entry in entries:
        function = entry.function
        holder = function.qualified.rpartition(".")[0]
        is_exported = (function.is_exported or function.qualified in exported) and holder not in hidden
        if function.kind is Kind.CLASS and not is_exported:
            hidden.add(function.qualified)
        if entry.is_listed:
            yield replace(function, is_exported=is_exported)
