"""The same code without what people say about it: comments and docstrings become blanks, everything else stays as it was."""

from __future__ import annotations

import re

from tree_sitter import Node

from shared.source.languages import can_be_parsed
from shared.source.trees import Parsed, parse, walk

_COMMENTS = frozenset({"comment", "line_comment", "block_comment", "hash_bang_line", "shebang"})
_STRINGS = frozenset({"string", "concatenated_string"})
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_KEPT = re.compile(f"[^{_LINE_ENDS}]")
_KEPT_BYTE = re.compile(rb"[^\r\n]")
_ALONE_AFTER = re.compile(rb"[ \t\f]*(?:[#\r\n]|\Z)")
_ROOM = re.compile(rb"[\x20-\x7e]{2}")
_EMPTY_STRING = '""'


def without_comments(code: str, language: str) -> str:
    """Return `code` with comments, docstrings and Python's other bare strings blanked, a blank a character.

    Line ends stay where they are, and so does every byte outside. Where Python needs a statement an empty string stays. A
    shebang and an encoding line are comments. Text too long to be parsed is blanked whole; in a language without a grammar
    nothing is.
    """
    if not can_be_parsed(language):
        return code
    parsed = parse(code, language)
    if parsed is None:
        return _KEPT.sub(" ", code)
    return blanked(parsed)


def blanked(parsed: Parsed) -> str:
    """Return the text of a tree as `without_comments` does."""
    kept: list[str] = []
    position = 0
    for start, end, stays in _spans(parsed):
        kept.append(_text(parsed.raw[position:start]))
        blank = _KEPT.sub(" ", _text(parsed.raw[start:end]))
        kept.append(stays + blank[len(stays) :])
        position = end
    kept.append(_text(parsed.raw[position:]))
    return "".join(kept)


def blanked_bytes(parsed: Parsed) -> bytes:
    """Return the same for positions of the tree: a blank a byte, so nothing moves."""
    text = bytearray(parsed.raw)
    for start, end, stays in _spans(parsed):
        text[start:end] = stays.encode() + _KEPT_BYTE.sub(b" ", parsed.raw[start + len(stays) : end])
    return bytes(text)


def _spans(parsed: Parsed) -> list[tuple[int, int, str]]:
    """Return where the blanks go, in order and apart from each other, and what stays at the start of each."""
    spans: list[tuple[int, int, str]] = []
    end = 0
    for node, ancestors in walk(parsed.root):
        if node.start_byte < end:
            continue
        if node.type in _COMMENTS:
            spans.append((node.start_byte, node.end_byte, ""))
        elif parsed.language == "python" and node.type == "expression_statement" and _is_bare_string(node):
            spans.append((node.start_byte, node.end_byte, _left_of(node, ancestors, parsed)))
        else:
            continue
        end = node.end_byte
    return spans


def _is_bare_string(statement: Node) -> bool:
    inner: Node | None = statement
    while inner is not None and inner.type in ("expression_statement", "parenthesized_expression"):
        inner = _only_part(inner)
    if inner is None or inner.type not in _STRINGS:
        return False
    return not any(node.type == "interpolation" for node, _ in walk(inner))


def _only_part(node: Node) -> Node | None:
    parts = [child for child in node.named_children if child.type not in _COMMENTS]
    return parts[0] if len(parts) == 1 else None


def _left_of(statement: Node, ancestors: list[Node], parsed: Parsed) -> str:
    """Return what has to stay of a bare string, so that the rest still is Python."""
    before = parsed.shown.rfind(b"\n", 0, statement.start_byte) + 1
    is_alone = not parsed.shown[before : statement.start_byte].strip() and _ALONE_AFTER.match(
        parsed.shown, statement.end_byte
    )
    is_at_the_top = bool(ancestors) and ancestors[-1].type == "module"
    has_room = _ROOM.match(parsed.raw, statement.start_byte, statement.end_byte) is not None
    return _EMPTY_STRING if has_room and not (is_alone and is_at_the_top) else ""


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
