"""Syntax trees of tree-sitter, built and walked so that hostile text costs bounded time and no recursion.

Positions are bytes of the text in UTF-8. A lone surrogate and a NUL are shown to the grammar as other characters of the same
length, so every position is one of the text as it came.
"""

from __future__ import annotations

import functools
import re
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import tree_sitter_c
import tree_sitter_cpp
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_python
import tree_sitter_ruby
import tree_sitter_rust
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser, Tree

from shared.source.languages import canonical
from shared.source.quiet import no_warnings

LONGEST_TEXT = 1_000_000
"""Bytes. More is not parsed."""
PARSE_TIME_S = 2.0
"""A parser that is not through by then is stopped. Text written by people takes milliseconds; a hostile one of 900 bytes took 9 s."""
MOST_REMEMBERED = 64_000
"""Bytes. A text of this size that is read again at once, to blank, to outline, to check, is not parsed again."""
DEEPEST = 100_000
"""Levels of a tree that are walked into."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_RETURN_ENDS_A_LINE = frozenset({"python", "javascript", "typescript", "java", "c", "cpp"})
_GRAMMARS = {
    "python": tree_sitter_python.language,
    "javascript": tree_sitter_javascript.language,
    "typescript": tree_sitter_typescript.language_typescript,
    "tsx": tree_sitter_typescript.language_tsx,
    "go": tree_sitter_go.language,
    "java": tree_sitter_java.language,
    "rust": tree_sitter_rust.language,
    "c": tree_sitter_c.language,
    "cpp": tree_sitter_cpp.language,
    "ruby": tree_sitter_ruby.language,
}


@dataclass(frozen=True)
class Parsed:
    """A text and its tree. `raw`: the text as it came; `shown`: what the grammar saw, byte for byte of the same length."""

    language: str
    raw: bytes
    shown: bytes
    tree: Tree
    line_starts: tuple[int, ...] = field(repr=False)

    @property
    def root(self) -> Node:
        """The tree's root."""
        return self.tree.root_node

    def line_of(self, position: int) -> int:
        """Return the line, counted from 1, that a byte is in. Lines end as Python's universal newlines do."""
        return bisect_right(self.line_starts, position)

    def last_line_of(self, node: Node) -> int:
        """Return the line of a node's last byte, line ends at its end left out."""
        end = node.end_byte
        while end > node.start_byte and self.raw[end - 1] in b"\r\n":
            end -= 1
        return self.line_of(max(node.start_byte, end - 1))


def parse(code: str, language: str) -> Parsed | None:
    """Return the tree of `code`; None without a grammar, beyond a million bytes, or when parsing takes over two seconds.

    What is called TypeScript is read as TSX where that has fewer faults. Never raises.
    """
    name = canonical(language)
    if name not in _GRAMMARS or len(code) > LONGEST_TEXT:
        return None
    raw = code.encode("utf-8", "surrogatepass")
    if len(raw) > LONGEST_TEXT:
        return None
    shown = _shown(code, name)
    tree = _tree(shown, name)
    if tree is None:
        return None
    if name == "typescript" and tree.root_node.has_error:
        other = _tree(shown, "tsx")
        if other is not None and not other.root_node.has_error:
            tree = other
    starts = (0, *(found.end() for found in _LINE_END.finditer(raw)))
    return Parsed(name, raw, shown, tree, starts)


def walk(root: Node) -> Iterator[tuple[Node, list[Node]]]:
    """Yield every node before its children, with its ancestors from the root down (one list, changed as the walk goes on)."""
    cursor = root.walk()
    ancestors: list[Node] = []
    while True:
        node = cursor.node
        if node is None:
            return
        yield node, ancestors
        if len(ancestors) < DEEPEST and cursor.goto_first_child():
            ancestors.append(node)
            continue
        while not cursor.goto_next_sibling():
            if not ancestors or not cursor.goto_parent():
                return
            ancestors.pop()


def _shown(code: str, language: str) -> bytes:
    shown = _LONE_SURROGATE.sub("�", code).encode("utf-8").replace(b"\x00", b"\x01")
    return _LONE_RETURN.sub(b"\n", shown) if language in _RETURN_ENDS_A_LINE else shown


@functools.cache
def _grammar(name: str) -> Language:
    return Language(_GRAMMARS[name]())


class _Parsers(threading.local):
    """One parser a thread and grammar, and what the thread parsed last: a text as two grammars read it."""

    def __init__(self) -> None:
        self._made: dict[str, Parser] = {}
        self.recent: deque[tuple[str, bytes, Tree | None]] = deque(maxlen=2)

    def get(self, grammar: str) -> Parser:
        if grammar not in self._made:
            self._made[grammar] = _parser(grammar)
        return self._made[grammar]


_PARSERS = _Parsers()


def _parser(grammar: str) -> Parser:
    """Return a parser that gives up in time.

    tree-sitter 0.25.2 calls this way to bound it out of date. What it names instead cannot be used: it ends the process, and the
    reading callback that it needs leaks what it returns.
    """
    parser = Parser(_grammar(grammar))
    with no_warnings():
        parser.timeout_micros = round(PARSE_TIME_S * 1_000_000)  # type: ignore[misc]  # its stub forgets that it can be set
    return parser


def _tree(shown: bytes, grammar: str) -> Tree | None:
    """Parse; None when time ran out."""
    for read_as, text, tree in _PARSERS.recent:
        if read_as == grammar and text == shown:
            return tree
    parser = _PARSERS.get(grammar)
    found: Tree | None = None
    try:
        found = parser.parse(shown)
    except ValueError:
        parser.reset()
    if len(shown) <= MOST_REMEMBERED:
        _PARSERS.recent.append((grammar, shown, found))
    return found
