"""Examples that the caller's own words give: `add(2, 3) returns 5`. They are ground truth: the caller says what holds.

Read by rule, never by a model. A call counts where all of its arguments are plain values, and where a plain value, or an exception,
follows a word that says so: returns, gives, is, equals, ==, ->, raises … A doctest counts too. All else is prose, and is left alone: what
goes on behind the value (`returns 3 chunks`), what the words around it take back, and a call of which two things are said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.sandbox.model import Language
from shared.verification.clauses import is_denied, is_ended, is_operand, is_plain, value_end
from shared.verification.literals import free_names, group_end, respelled

MOST_EXAMPLES = 16
_MOST_CHARS = 400
_MOST_READ = 50_000
_SPACE = r"[^\S\n]*\n?[^\S\n]*"
_RETURNS = re.compile(
    rf"`*{_SPACE}(?:,{_SPACE})?(?:\)\s*\.\s*to(?:Be|Equal|StrictEqual)\s*\(|(?:(?:should|must|will)\s+)?"
    r"(?:returns?|gives?|yields?|equals?|evaluates\s+to|produces?|results?\s+in|be|is|becomes?)\b(?:\s+to\b)?:?"
    rf"|===?|->|=>|→|=(?!=)){_SPACE}`*",
    re.IGNORECASE,
)
_RAISES = re.compile(
    rf"`*{_SPACE}(?:,{_SPACE})?(?:(?:should|must|will)\s+)?(?:raises?|throws?)\b",
    re.IGNORECASE,
)
_TYPE = re.compile(
    r"\s*(?:(?:an?|the)\s+)?`*(?:(?P<type>(?:\w+\.)*(?-i:[A-Z])\w+)|(?P<any>(?:[a-z-]+\s+){0,2}(?:error|exception)s?\b))`*",
    re.IGNORECASE,
)
_DETAIL = re.compile(r"\s*:|\s+with\b", re.IGNORECASE)
_DENYING = re.compile(r"\b(?:no|none|nothing|never|neither|not|nor|without)\b", re.IGNORECASE)
_DOCTEST = re.compile(
    r"^[ \t`]*>>>\s*(?P<call>.+)\n(?P<value>(?!\s*(?:>>>|\n|$)).+)(?=\n\s*(?:>>>|```|\"\"\"|\n|\Z)|\n?\Z)", re.MULTILINE
)
_ANY_ERROR = frozenset({"error", "exception", "errors", "exceptions"})


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
    text = context[:_MOST_READ]
    pattern = re.compile(rf"(?<![\w.$])(?:new\s+)?(?:{'|'.join(map(re.escape, names))})\(")
    found = dict.fromkeys([*_doctests(text, pattern, language), *_sentences(text, pattern, language)])
    return tuple(one for one in found if not any(_contradict(one, other) for other in found))[:MOST_EXAMPLES]


def _contradict(one: Example, other: Example) -> bool:
    """Tell whether two examples cannot both hold; which one is meant, nobody can tell by rule."""
    if _squeezed(one.call) != _squeezed(other.call):
        return False
    if one.raises is not None and other.raises is not None:
        return "*" not in (one.raises, other.raises) and one.raises != other.raises
    return _squeezed(one.expected or "") != _squeezed(other.expected or "")


def _squeezed(text: str) -> str:
    return "".join(text.split()).replace('"', "'")


def _doctests(text: str, pattern: re.Pattern[str], language: Language) -> Iterator[Example]:
    for match in _DOCTEST.finditer(text):
        call, value = match["call"].strip(" \t\r`"), match["value"].strip(" \t\r`")
        start = pattern.match(call)
        if (
            start is None
            or _call_end(call, start, language) != len(call)
            or value_end(value, 0, language) != len(value)
        ):
            continue
        if is_plain(value, language) and not is_denied(text, match.start("call"), match.end()):
            yield Example(call, respelled(value, language), None)


def _sentences(text: str, pattern: re.Pattern[str], language: Language) -> Iterator[Example]:
    for start in pattern.finditer(text):
        end = _call_end(text, start, language)
        if end is None or is_operand(text, start.start()):
            continue
        call = respelled(text[start.start() : end], language)
        read = _returned(text, start.start(), end, call, language) or _raised(text, end, call)
        if read is not None and not is_denied(text, start.start(), read[1]):
            yield read[0]


def _call_end(text: str, start: re.Match[str], language: Language) -> int | None:
    near = text[start.end() - 1 : start.end() + _MOST_CHARS]
    length = group_end(near, 0)
    if length is None or free_names(near[1 : length - 1]) or not is_plain(near[:length], language):
        return None
    return start.end() - 1 + length


def _returned(text: str, start: int, end: int, call: str, language: Language) -> tuple[Example, int] | None:
    """Return the example of the call from `start` to `end`, and the index behind its value."""
    says = _RETURNS.match(text, end)
    if says is None:
        return None
    near = text[says.end() : says.end() + _MOST_CHARS]
    length = value_end(near, 0, language)
    if length is None or not is_plain(near[:length], language) or not is_ended(text, start, says.end() + length):
        return None
    return Example(call, respelled(near[:length], language), None), says.end() + length


def _raised(text: str, end: int, call: str) -> tuple[Example, int] | None:
    """Return the same of a call that raises: a type, an error of whatever type, or nothing more is said."""
    says = _RAISES.match(text, end)
    if says is None:
        return None
    named = _TYPE.match(text, says.end())
    stop = says.end() if named is None else named.end()
    if named is not None and _DENYING.search(named.group()):
        return None
    if text[stop : stop + 1] == "(":
        stop += group_end(text[stop : stop + _MOST_CHARS], 0) or 0
    if not is_ended(text, says.start(), stop) and (named is None or _DETAIL.match(text, stop) is None):
        return None
    name = ((named and named["type"]) or "").rpartition(".")[2]
    return Example(call, None, "*" if not name or name.lower() in _ANY_ERROR else name), stop
