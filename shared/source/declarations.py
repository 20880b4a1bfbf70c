"""Which nodes of a syntax tree declare something, in every language that has a grammar, and what of it is seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tree_sitter import Node

from shared.source.trees import Parsed


class Kind(StrEnum):
    """What a declaration is. Structures, traits, interfaces and Ruby's modules count as classes."""

    FUNCTION = "function"
    METHOD = "method"
    CLASS = "class"


@dataclass(frozen=True)
class Declared:
    """A declaration. `value`: the node that has the parameters and the body. `kind` None: it only lends its name to what is in it."""

    name: str
    kind: Kind | None
    value: Node
    is_exported: bool


_BY_NAME: dict[str, dict[str, Kind | None]] = {
    "python": {"function_definition": Kind.FUNCTION, "class_definition": Kind.CLASS},
    "javascript": {
        "function_declaration": Kind.FUNCTION,
        "generator_function_declaration": Kind.FUNCTION,
        "class_declaration": Kind.CLASS,
        "abstract_class_declaration": Kind.CLASS,
        "internal_module": None,
        "module": None,
    },
    "go": {"function_declaration": Kind.FUNCTION},
    "java": {
        "class_declaration": Kind.CLASS,
        "interface_declaration": Kind.CLASS,
        "enum_declaration": Kind.CLASS,
        "record_declaration": Kind.CLASS,
        "method_declaration": Kind.METHOD,
        "constructor_declaration": Kind.METHOD,
    },
    "rust": {
        "function_item": Kind.FUNCTION,
        "struct_item": Kind.CLASS,
        "enum_item": Kind.CLASS,
        "union_item": Kind.CLASS,
        "trait_item": Kind.CLASS,
        "mod_item": None,
    },
    "cpp": {"class_specifier": Kind.CLASS, "struct_specifier": Kind.CLASS, "namespace_definition": None},
    "ruby": {
        "method": Kind.FUNCTION,
        "singleton_method": Kind.FUNCTION,
        "class": Kind.CLASS,
        "module": Kind.CLASS,
    },
}
_BY_NAME["typescript"] = _BY_NAME["javascript"]
_BY_NAME["c"] = {"struct_specifier": Kind.CLASS}

_SCRIPTS = frozenset({"javascript", "typescript"})
_FUNCTION_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})
_CLASS_VALUES = frozenset({"class"})
_FIELDS = frozenset({"pair", "field_definition", "public_field_definition"})
_HOLDS_AN_OBJECT = frozenset({"variable_declarator", "assignment_expression", "export_statement"})
_NEEDS_A_BODY = frozenset({"class_specifier", "struct_specifier"})


def declared_by(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    """Return what a node declares; None for nearly every node."""
    if not node.is_named:
        return None
    kinds = _BY_NAME[parsed.language]
    if node.type in kinds:
        name = node.child_by_field_name("name")
        if name is None or (node.type in _NEEDS_A_BODY and node.child_by_field_name("body") is None):
            return None
        return _declared(text_of(name), kinds[node.type], node, node, ancestors, parsed)
    if parsed.language in _SCRIPTS:
        return _in_a_script(node, ancestors, parsed)
    special = _SPECIAL.get((parsed.language, node.type))
    return special(node, ancestors, parsed) if special is not None else None


def exported_names(node: Node, parsed: Parsed) -> Iterator[str]:
    """Yield the names that a node of JavaScript or TypeScript exports of what is declared elsewhere."""
    if parsed.language not in _SCRIPTS:
        return
    if node.type == "export_specifier":
        named = node.child_by_field_name("name")
        if named is not None:
            yield text_of(named)
    elif node.type == "export_statement":
        value = node.child_by_field_name("value")
        if value is not None and value.type == "identifier":
            yield text_of(value)
    elif node.type == "assignment_expression":
        yield from _assigned_to_exports(node)


def text_of(node: Node) -> str:
    """Return a node's text, at most 200 characters, without line breaks."""
    return " ".join((node.text or b"")[:800].decode("utf-8", "replace").split())[:200]


def _assigned_to_exports(node: Node) -> Iterator[str]:
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if left is None or right is None or text_of(left) != "module.exports":
        return
    if right.type == "identifier":
        yield text_of(right)
    elif right.type == "object":
        for part in right.named_children:
            value = part.child_by_field_name("value") if part.type == "pair" else part
            if value is not None and value.type in ("identifier", "shorthand_property_identifier"):
                yield text_of(value)


def _declared(
    name: str, kind: Kind | None, value: Node, node: Node, ancestors: list[Node], parsed: Parsed
) -> Declared | None:
    if not name:
        return None
    return Declared(name, kind, value, _exports_itself(name, node, ancestors, parsed.language))


def _in_a_script(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    parent = ancestors[-1] if ancestors else None
    if node.type == "method_definition":
        name = node.child_by_field_name("name")
        if name is None or (parent is not None and parent.type == "object" and not _is_named_object(ancestors)):
            return None
        return _declared(text_of(name), Kind.METHOD, node, node, ancestors, parsed)
    if node.type == "variable_declarator":
        return _named_value(node, "name", "value", ancestors, parsed)
    if node.type in _FIELDS:
        if node.type == "pair" and not _is_named_object(ancestors):
            return None
        field = {"pair": "key", "field_definition": "property"}.get(node.type, "name")
        return _named_value(node, field, "value", ancestors, parsed)
    if node.type == "assignment_expression":
        return _named_value(node, "left", "right", ancestors, parsed)
    if parent is not None and parent.type == "export_statement":
        kind = _kind_of_value(node)
        own = node.child_by_field_name("name")
        if node.type == "object":
            return _declared("default", None, node, node, ancestors, parsed)
        if kind is not None:
            return _declared(text_of(own) if own else "default", kind, node, node, ancestors, parsed)
    return None


def _named_value(node: Node, name: str, value: str, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    """Return what a function, a class or an object that is given a name declares."""
    named, given = node.child_by_field_name(name), node.child_by_field_name(value)
    if named is None or given is None:
        return None
    kind = _kind_of_value(given)
    if kind is None and (given.type != "object" or node.type in _FIELDS):
        return None
    return _declared(_outside_name(text_of(named), given), kind, given, node, ancestors, parsed)


def _outside_name(text: str, value: Node) -> str:
    """Return `a.b` for what is assigned to `exports.a.prototype.b`; the value's own name for `module.exports`."""
    if text in ("module.exports", "exports"):
        own = value.child_by_field_name("name")
        return text_of(own) if own is not None else "default"
    for prefix in ("module.exports.", "exports.", "this."):
        text = text.removeprefix(prefix)
    return text.replace(".prototype.", ".").strip("\"'`")


def _kind_of_value(node: Node) -> Kind | None:
    if node.type in _FUNCTION_VALUES:
        return Kind.FUNCTION
    return Kind.CLASS if node.type in _CLASS_VALUES else None


def _is_named_object(ancestors: list[Node]) -> bool:
    return len(ancestors) > 1 and ancestors[-1].type == "object" and ancestors[-2].type in _HOLDS_AN_OBJECT


def _assigned_lambda(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if left is None or right is None or left.type != "identifier" or right.type != "lambda":
        return None
    return _declared(text_of(left), Kind.FUNCTION, right, node, ancestors, parsed)


def _go_method(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    name, receiver = node.child_by_field_name("name"), node.child_by_field_name("receiver")
    if name is None:
        return None
    words = text_of(receiver).strip("()").replace("*", " ").split("[")[0].split() if receiver is not None else []
    full = f"{words[-1]}.{text_of(name)}" if words else text_of(name)
    return _declared(full, Kind.METHOD, node, node, ancestors, parsed)


def _go_type(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    name, form = node.child_by_field_name("name"), node.child_by_field_name("type")
    if name is None or form is None or form.type not in ("struct_type", "interface_type"):
        return None
    return _declared(text_of(name), Kind.CLASS, node, node, ancestors, parsed)


def _rust_impl(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    form = node.child_by_field_name("type")
    return None if form is None else _declared(text_of(form).split("<")[0], None, node, node, ancestors, parsed)


def _c_function(node: Node, ancestors: list[Node], parsed: Parsed) -> Declared | None:
    declarator = node.child_by_field_name("declarator")
    for _ in range(8):
        if declarator is None or declarator.type == "function_declarator":
            break
        declarator = declarator.child_by_field_name("declarator") or next(iter(declarator.named_children), None)
    if declarator is None or declarator.type != "function_declarator":
        return None
    name = declarator.child_by_field_name("declarator")
    if name is None:
        return None
    return _declared(text_of(name).replace("::", "."), Kind.FUNCTION, declarator, node, ancestors, parsed)


_SPECIAL = {
    ("python", "assignment"): _assigned_lambda,
    ("go", "method_declaration"): _go_method,
    ("go", "type_spec"): _go_type,
    ("rust", "impl_item"): _rust_impl,
    ("c", "function_definition"): _c_function,
    ("cpp", "function_definition"): _c_function,
}


def _exports_itself(name: str, node: Node, ancestors: list[Node], language: str) -> bool:
    """Tell whether a declaration says of itself that it is seen from outside."""
    last = name.rsplit(".", 1)[-1]
    match language:
        case "python":
            return not last.startswith("_") or (last.startswith("__") and last.endswith("__"))
        case "go":
            return last[:1].isupper()
        case "java":
            return _has(node, "modifiers", "public")
        case "rust":
            return node.type in ("impl_item", "mod_item") or _has(node, "visibility_modifier", "pub")
        case "c" | "cpp":
            return not _has(node, "storage_class_specifier", "static")
        case "javascript" | "typescript":
            return _script_exports(last, node, ancestors)
    return True


def _script_exports(name: str, node: Node, ancestors: list[Node]) -> bool:
    if node.type in ("method_definition", *_FIELDS):
        return not name.startswith("#") and not _has(node, "accessibility_modifier", "private")
    if any(ancestor.type == "export_statement" for ancestor in ancestors[-2:]):
        return True
    left = node.child_by_field_name("left") if node.type == "assignment_expression" else None
    return left is not None and text_of(left).startswith(("module.exports", "exports"))


def _has(node: Node, kind: str, word: str) -> bool:
    return any(child.type == kind and word in text_of(child) for child in node.children[:6])
