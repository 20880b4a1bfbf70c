"""Which functions give their caller nothing to look at: read from the text, of the languages that can be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tree_sitter import Node

from shared.source.declarations import Kind, declared_by
from shared.source.trees import Parsed, parse, walk

_LANGUAGES = frozenset({"python", "javascript", "typescript"})
_FUNCTIONS = frozenset(
    {
        "function_definition",
        "lambda",
        "function_declaration",
        "generator_function_declaration",
        "arrow_function",
        "function_expression",
        "generator_function",
        "method_definition",
    }
)
_RETURNS = frozenset({"return_statement"})
_YIELDS = frozenset({"yield", "yield_expression"})
_RAISES = frozenset({"raise_statement", "assert_statement", "throw_statement"})
_NO_VALUES = frozenset({"None", "undefined", "null", "void 0"})
_PRINTS = ("print(", "console.")
_LONGEST_WORD = 12


@dataclass(frozen=True)
class Results:
    """Names of functions and methods. `silent`: they return and yield no value; `raising`: they raise errors of their own.

    `yielding`: they are generators. A name that several have is silent only where none of them gives a value.
    """

    silent: frozenset[str] = frozenset()
    raising: frozenset[str] = frozenset()
    yielding: frozenset[str] = frozenset()


def results(code: str, language: str) -> Results:
    """Return what the functions of `code` give, by their names; nothing in other languages, or of what is too long. Never raises."""
    parsed = parse(code, language)
    if parsed is None or parsed.language not in _LANGUAGES:
        return Results()
    named: list[tuple[str, int]] = []
    giving: set[int] = set()
    raising: set[int] = set()
    yielding: set[int] = set()
    holders: list[Node] = []
    for node, ancestors in walk(parsed.root):
        while holders and holders[-1].end_byte <= node.start_byte:
            holders.pop()
        if node.type in _FUNCTIONS and node.is_named:
            holders.append(node)
        if holders and _gives(node, parsed):
            giving.add(holders[-1].id)
        if holders and node.is_named and node.type in _RAISES:
            raising.add(holders[-1].id)
        if holders and node.is_named and node.type in _YIELDS:
            yielding.add(holders[-1].id)
        declared = declared_by(node, ancestors, parsed)
        if declared is not None and declared.kind in (Kind.FUNCTION, Kind.METHOD):
            named.append((declared.name.rsplit(".", 1)[-1], declared.value.id))
    every = frozenset(name for name, _ in named)
    return Results(every - _of(giving | yielding, named), _of(raising, named), _of(yielding, named))


def _of(functions: set[int], named: Sequence[tuple[str, int]]) -> frozenset[str]:
    return frozenset(name for name, function in named if function in functions)


def _gives(node: Node, parsed: Parsed) -> bool:
    """Tell whether a node hands a value to the caller of the function that it stands in, or is."""
    if node.type in _RETURNS:
        return any(_is_value(child, parsed) for child in node.named_children if child.type != "comment")
    body = node.child_by_field_name("body") if node.type in ("arrow_function", "lambda") else None
    return body is not None and body.type != "statement_block" and _is_value(body, parsed)


def _is_value(node: Node, parsed: Parsed) -> bool:
    beginning = parsed.raw[node.start_byte : min(node.end_byte, node.start_byte + _LONGEST_WORD)].decode(
        "utf-8", "replace"
    )
    return beginning not in _NO_VALUES and not beginning.startswith(_PRINTS)
