"""Lines as they are counted everywhere here: they end with LF, CR LF or a lone CR."""

from __future__ import annotations

import re

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def lines_of(code: str) -> list[str]:
    """Return the lines of a text with their ends; joined, they are the text."""
    return _LINE.findall(code)


def excerpt(code: str, first_line: int, last_line: int) -> str:
    """Return lines `first_line` to `last_line`, counted from 1, both included, without the last line's end."""
    return "".join(lines_of(code)[max(0, first_line - 1) : last_line]).rstrip("\r\n")
