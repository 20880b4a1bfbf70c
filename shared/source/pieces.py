"""Cuts long code where its functions begin and end, so that a model with a short memory can be shown it part by part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from shared.source.lines import lines_of
from shared.source.outline import Function, outline


@dataclass(frozen=True)
class Piece:
    """A part of a text with its first and last line, counted from 1."""

    code: str
    first_line: int
    last_line: int


def pieces(code: str, language: str, max_chars: int) -> list[Piece]:
    """Return `code` in pieces of at most `max_chars` characters (1 or more), cut at the edge of a function wherever one fits.

    The pieces, joined, are `code`; none is empty. A function that does not fit is cut at the edges of the functions in it, then
    between lines, then within a line.
    """
    most = max(1, max_chars)
    lines = lines_of(code)
    if len(code) <= most:
        return [Piece(code, 1, len(lines))] if code else []
    return [
        Piece(part, first, last)
        for first, last in _packed([len(line) for line in lines], outline(code, language).functions, most)
        for part in _parts("".join(lines[first - 1 : last]), most)
    ]


def _packed(lengths: list[int], functions: tuple[Function, ...], most: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each piece; one that is a single line may be too long."""
    before = [0, *accumulate(lengths)]
    outer, inner = _edges(_outermost(functions)), _edges(functions)
    first = 1
    while first <= len(lengths):
        last = bisect_right(before, before[first - 1] + most) - 1
        if last < len(lengths):
            last = _edge_within(outer, first, last) or _edge_within(inner, first, last) or max(last, first)
        yield first, last
        first = last + 1


def _edge_within(edges: list[int], first: int, last: int) -> int | None:
    """Return the last line after which an edge lies, from `first` to `last`."""
    found = bisect_right(edges, last) - 1
    return edges[found] if found >= 0 and edges[found] >= first else None


def _edges(functions: Iterable[Function]) -> list[int]:
    """Return the lines after which a cut does no harm, in order."""
    found: set[int] = set()
    for function in functions:
        found.update((function.first_line - 1, function.last_line))
    return sorted(found)


def _outermost(functions: tuple[Function, ...]) -> Iterator[Function]:
    """Yield the functions that lie in no other; they come in the order of their first lines."""
    end = 0
    for function in functions:
        if function.first_line > end:
            yield function
            end = function.last_line


def _parts(text: str, most: int) -> Iterator[str]:
    for start in range(0, len(text), most):
        yield text[start : start + most]
