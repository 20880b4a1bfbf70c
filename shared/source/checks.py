"""Faults that can be seen without running the code: syntax in every language with a grammar, and pyflakes' for Python. No style."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass

from pyflakes import messages
from pyflakes.checker import Checker
from tree_sitter import Node

from shared.source.quiet import no_warnings
from shared.source.trees import Parsed, parse, walk

MOST_FINDINGS = 100
CRITICAL, HIGH, MEDIUM, LOW = "critical", "high", "medium", "low"

_LONGEST_MESSAGE = 300
_LONGEST_PYTHON = 300_000
_DEEPEST_PYTHON = 400
_FIRST_WITH_NEW_STRINGS = (3, 12)
_NEW_IN_3_12 = frozenset({"type_alias_statement", "type_parameter"})
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)

_PYFLAKES: dict[type[messages.Message], tuple[str, str]] = {
    messages.UndefinedName: ("undefined-name", HIGH),
    messages.UndefinedLocal: ("undefined-local", HIGH),
    messages.UndefinedExport: ("undefined-export", MEDIUM),
    messages.DuplicateArgument: ("duplicate-argument", CRITICAL),
    messages.ReturnOutsideFunction: ("return-outside-function", CRITICAL),
    messages.YieldOutsideFunction: ("yield-outside-function", CRITICAL),
    messages.ContinueOutsideLoop: ("continue-outside-loop", CRITICAL),
    messages.BreakOutsideLoop: ("break-outside-loop", CRITICAL),
    messages.DefaultExceptNotLast: ("default-except-not-last", CRITICAL),
    messages.TwoStarredExpressions: ("two-starred-expressions", CRITICAL),
    messages.LateFutureImport: ("late-future-import", CRITICAL),
    messages.FutureFeatureNotDefined: ("unknown-future-feature", CRITICAL),
    messages.RaiseNotImplemented: ("raises-not-implemented", HIGH),
    messages.InvalidPrintSyntax: ("print-as-operand", HIGH),
    messages.PercentFormatInvalidFormat: ("format", HIGH),
    messages.PercentFormatMissingArgument: ("format", HIGH),
    messages.PercentFormatExtraNamedArguments: ("format", LOW),
    messages.PercentFormatMixedPositionalAndNamed: ("format", HIGH),
    messages.PercentFormatUnsupportedFormatCharacter: ("format", HIGH),
    messages.PercentFormatPositionalCountMismatch: ("format", HIGH),
    messages.PercentFormatExpectedMapping: ("format", HIGH),
    messages.PercentFormatExpectedSequence: ("format", HIGH),
    messages.PercentFormatStarRequiresSequence: ("format", HIGH),
    messages.StringDotFormatInvalidFormat: ("format", HIGH),
    messages.StringDotFormatMissingArgument: ("format", HIGH),
    messages.StringDotFormatMixingAutomatic: ("format", HIGH),
    messages.StringDotFormatExtraPositionalArguments: ("format", LOW),
    messages.StringDotFormatExtraNamedArguments: ("format", LOW),
    messages.IfTuple: ("condition-is-a-tuple", HIGH),
    messages.AssertTuple: ("assertion-is-a-tuple", HIGH),
    messages.IsLiteral: ("identity-of-a-literal", MEDIUM),
    messages.MultiValueRepeatedKeyLiteral: ("repeated-key", MEDIUM),
    messages.MultiValueRepeatedKeyVariable: ("repeated-key", MEDIUM),
    messages.RedefinedWhileUnused: ("redefined-while-unused", LOW),
}
"""What pyflakes finds and we tell: what fails or misleads when it runs."""


@dataclass(frozen=True)
class Finding:
    """A fault. `rule`: its stable name, `syntax` or `pyflakes/…`. `line`: counted from 1. `severity`: the contract's word."""

    rule: str
    message: str
    line: int
    severity: str


def findings(code: str, language: str) -> list[Finding]:
    """Return the faults of `code`, by line, at most 100. None in a language without a grammar. Never raises.

    Python's own compiler decides about Python; the grammar decides elsewhere, and knows no syntax newer than itself.
    """
    parsed = parse(code, language)
    if parsed is None:
        return []
    look = _Look(parsed)
    found = _python(code, look, parsed) if parsed.language == "python" else look.faults
    return sorted(found, key=lambda finding: finding.line)[:MOST_FINDINGS]


class _Look:
    """What one walk over the tree tells: faults, how deep it goes, and what this interpreter may be too old for."""

    def __init__(self, parsed: Parsed) -> None:
        self.faults: list[Finding] = []
        self.depth = 0
        self.has_new_syntax = False
        self.formatted_strings: list[tuple[int, int]] = []
        for node, ancestors in walk(parsed.root):
            self.depth = max(self.depth, len(ancestors))
            if (node.is_error or node.is_missing) and len(self.faults) < MOST_FINDINGS:
                self.faults.append(_fault(node, parsed))
            elif node.type in _NEW_IN_3_12:
                self.has_new_syntax = True
            elif node.type == "interpolation" and ancestors:
                lines = parsed.line_of(ancestors[-1].start_byte), parsed.last_line_of(ancestors[-1])
                self.formatted_strings.append(lines)

    def may_be_newer(self, line: int) -> bool:
        """Tell whether a line that this interpreter cannot read may be sound in Python 3.12, which the sandbox runs."""
        if sys.version_info >= _FIRST_WITH_NEW_STRINGS or self.faults:
            return False
        return self.has_new_syntax or any(first <= line <= last for first, last in self.formatted_strings)


def _fault(node: Node, parsed: Parsed) -> Finding:
    if node.is_missing:
        return Finding("syntax", f"missing {_quoted(node.type)}", parsed.line_of(node.start_byte), CRITICAL)
    text = parsed.shown[node.start_byte : min(node.end_byte, node.start_byte + 160)].decode("utf-8", "replace")
    shown = " ".join(text.split())[:40]
    message = f"unexpected {_quoted(shown)}" if shown else "unexpected end"
    return Finding("syntax", _clean(message), parsed.line_of(node.start_byte), CRITICAL)


def _python(code: str, look: _Look, parsed: Parsed) -> list[Finding]:
    if look.depth > _DEEPEST_PYTHON or len(code) > _LONGEST_PYTHON:
        return look.faults
    with no_warnings():
        try:
            tree = ast.parse(code.removeprefix("\ufeff"))
        except SyntaxError as error:
            line = min(max(error.lineno or 1, 1), len(parsed.line_starts))
            fault = Finding("syntax", _clean(str(error.msg)), line, CRITICAL)
            return [] if look.may_be_newer(line) else [fault]
        except _UNREADABLE:
            return look.faults or [Finding("syntax", "this text cannot be Python", 1, CRITICAL)]
        try:
            told = Checker(tree, filename="code.py").messages
        except _UNREADABLE:
            return []
    unread = _unread(tree) if any(isinstance(message, messages.UndefinedName) for message in told) else frozenset()
    return [found for message in told if (found := _told(message, unread)) is not None]


def _unread(tree: ast.Module) -> frozenset[tuple[int, int]]:
    """Return where names stand that Python does not look up as it runs: in strings, in postponed annotations, in those of locals."""
    is_postponed = any(
        isinstance(one, ast.ImportFrom)
        and one.module == "__future__"
        and "annotations" in [name.name for name in one.names]
        for one in tree.body
    )
    unread: set[tuple[int, int]] = set()
    left: list[tuple[ast.AST, bool]] = [(tree, False)]
    while left:
        node, is_local = left.pop()
        if isinstance(node, ast.JoinedStr):
            left += [(part, is_local) for part in node.values if not isinstance(part, ast.Constant)]
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            unread.add((node.lineno, node.col_offset))
        if isinstance(node, ast.AnnAssign | ast.arg) and (
            is_postponed or (is_local and isinstance(node, ast.AnnAssign))
        ):
            unread |= _names_in(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_postponed:
            unread |= _names_in(node.returns)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            is_local = not isinstance(node, ast.ClassDef)
        left += [(part, is_local) for part in ast.iter_child_nodes(node)]
    return frozenset(unread)


def _names_in(annotation: ast.expr | None) -> set[tuple[int, int]]:
    parts = ast.walk(annotation) if annotation is not None else ()
    return {(part.lineno, part.col_offset) for part in parts if isinstance(part, ast.Name)}


def _told(message: messages.Message, unread: frozenset[tuple[int, int]]) -> Finding | None:
    """Return a finding. A name that nobody looks up misleads readers and type checkers; the code runs all the same."""
    known = _PYFLAKES.get(type(message))
    if known is None:
        return None
    rule, severity = known
    if isinstance(message, messages.UndefinedName) and (message.lineno, message.col) in unread:
        severity = LOW
    return Finding(f"pyflakes/{rule}", _clean(message.message % message.message_args), message.lineno, severity)


def _quoted(text: str) -> str:
    return f"`{text}`"


def _clean(text: str) -> str:
    shown = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() else " " for char in shown)[:_LONGEST_MESSAGE]
