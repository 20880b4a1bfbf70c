"""The names of a declaration's parameters, in every language that has a grammar."""

from __future__ import annotations

from tree_sitter import Node

MOST_PARAMETERS = 100
_LONGEST = 80
_NAMED_BY = ("name", "pattern", "left", "declarator")
_SKIPPED = frozenset({"comment", "line_comment", "block_comment", "attribute_item", "receiver_parameter"})
_STARRED = frozenset(
    {
        "list_splat_pattern",
        "dictionary_splat_pattern",
        "rest_pattern",
        "keyword_separator",
        "positional_separator",
        "self_parameter",
        "splat_parameter",
        "hash_splat_parameter",
        "block_parameter",
        "variadic_parameter",
        "variadic_parameter_declaration",
        "spread_parameter",
    }
)
_WRAPPED = frozenset(
    {"typed_parameter", "pointer_declarator", "reference_declarator", "array_declarator", "mut_pattern"}
)


def parameters_of(declaration: Node) -> tuple[str, ...]:
    """Return the names, at most 100, stars and dots with them; a pattern that has no name as its text."""
    single = declaration.child_by_field_name("parameter")
    if single is not None:
        return (_text(single),)
    listed = declaration.child_by_field_name("parameters")
    if listed is None:
        return ()
    found: list[str] = []
    for child in listed.named_children[:MOST_PARAMETERS]:
        if child.type not in _SKIPPED:
            found.extend(_names_of(child))
    return tuple(name for name in found[:MOST_PARAMETERS] if name not in ("", "void"))


def _names_of(parameter: Node) -> list[str]:
    if parameter.type == "variadic_parameter_declaration":  # Go
        named = parameter.child_by_field_name("name")
        return [f"...{_text(named)}"] if named is not None else ["..."]
    if parameter.type == "spread_parameter":  # Java
        declared = next((child for child in parameter.named_children if child.type == "variable_declarator"), parameter)
        return [f"...{_text(declared)}"]
    if parameter.type in _STARRED:
        return [_text(parameter)]
    several = parameter.children_by_field_name("name")
    if len(several) > 1:  # Go: a, b int
        return [_text(name) for name in several]
    return [_text(_innermost(parameter))]


def _innermost(parameter: Node) -> Node:
    """Follow what names a parameter inwards: through its type, its default value, its pointer."""
    node = parameter
    for _ in range(8):
        inner = next((found for field in _NAMED_BY if (found := node.child_by_field_name(field)) is not None), None)
        if inner is None and node.type in _WRAPPED and node.named_child_count:
            inner = node.named_child(0)
        if inner is None:
            break
        node = inner
    return node


def _text(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    return " ".join(text.split())[:_LONGEST]
