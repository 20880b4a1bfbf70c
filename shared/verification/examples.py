"""Examples that the caller's own words give: `add(2, 3) returns 5`. They are ground truth: the caller says what holds.

Read by rule, never by a model. A call counts where all of its arguments are plain values, and where a plain value, or an exception,
follows a word that says so: returns, gives, is, equals, ==, ->, raises … A doctest counts too. All else is prose, and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.sandbox.model import Language
from shared.verification.literals import free_names, group_end, literal_end, respelled

MOST_EXAMPLES = 16
_MOST_CHARS = 400
_MOST_READ = 10_000
_RETURNS = re.compile(
    r"\s*(?:,\s*)?(?:\)\s*\.\s*to(?:Be|Equal|StrictEqual)\s*\(|(?:(?:should|must|will)\s+)?(?:returns?|gives?|yields?|equals?|"
    r"evaluates\s+to|produces?|results?\s+in|be|is|becomes?)\b(?:\s+to\b)?:?|===?|->|=>|→|=(?!=))\s*",
    re.IGNORECASE,
)
_RAISES = re.compile(
    r"\s*(?:,\s*)?(?:(?:should|must|will)\s+)?(?:raises?|throws?)\b\s*(?:(?:an?|the)\s+)?(?P<type>[A-Za-z_][\w.]*)?",
    re.IGNORECASE,
)
_DOCTEST = re.compile(r"^\s*>>>\s*(?P<call>.+)\n(?P<value>(?!\s*(?:>>>|\n|$)).+)", re.MULTILINE)
_ANY_ERROR = frozenset({"error", "exception", "errors", "exceptions"})
_AFTER = re.compile(r"(?:[\s.,;:!?)\]`*]|$)")


@dataclass(frozen=True)
class Example:
    """A call and what the caller says that it gives: `expected`, an expression, or `raises`, a type's name (`*`: any)."""

    call: str
    expected: str | None
    raises: str | None


def examples(context: str | None, names: Sequence[str], language: Language) -> tuple[Example, ...]:
    """Return the examples in `context` that call one of `names`, in order, each once, at most 16."""
    if not context or not names:
        return ()
    text = context[:_MOST_READ].replace("`", " ")
    pattern = re.compile(rf"(?<![\w.$])(?:new\s+)?(?:{'|'.join(map(re.escape, names))})\(")
    found = [*_doctests(text, pattern, language), *_sentences(text, pattern, language)]
    return tuple(dict.fromkeys(found))[:MOST_EXAMPLES]


def _doctests(text: str, pattern: re.Pattern[str], language: Language) -> Iterator[Example]:
    for match in _DOCTEST.finditer(text):
        call, value = match["call"].strip(), match["value"].strip()
        start = pattern.match(call)
        if start is not None and _call_end(call, start) == len(call) and literal_end(value, 0) == len(value):
            yield Example(call, respelled(value, language), None)


def _sentences(text: str, pattern: re.Pattern[str], language: Language) -> Iterator[Example]:
    for start in pattern.finditer(text):
        end = _call_end(text, start)
        if end is None:
            continue
        call = respelled(text[start.start() : end], language)
        example = _returned(text, end, call, language) or _raised(text, end, call)
        if example is not None:
            yield example


def _call_end(text: str, start: re.Match[str]) -> int | None:
    near = text[start.end() - 1 : start.end() + _MOST_CHARS]
    length = group_end(near, 0)
    if length is None or free_names(near[1 : length - 1]):
        return None
    return start.end() - 1 + length


def _returned(text: str, end: int, call: str, language: Language) -> Example | None:
    says = _RETURNS.match(text, end)
    if says is None:
        return None
    near = text[says.end() : says.end() + _MOST_CHARS]
    stop = literal_end(near, 0)
    if stop is None or _AFTER.match(near, stop) is None:
        return None
    return Example(call, respelled(near[:stop], language), None)


def _raised(text: str, end: int, call: str) -> Example | None:
    says = _RAISES.match(text, end)
    if says is None:
        return None
    name = (says["type"] or "").rstrip(".").rpartition(".")[2]
    is_type = name[:1].isupper() and name.lower() not in _ANY_ERROR
    return Example(call, None, name if is_type else "*")
