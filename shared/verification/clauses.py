"""Where an example in prose ends, and what around it takes it back: `f(1) returns 2` is one, `f(1) returns 2 chunks` is none.

An example is ground truth: one that is invented condemns correct code, one that is missed costs a claim. So whatever can be read in
another way is prose.
"""

from __future__ import annotations

import re

from shared.sandbox.model import Language
from shared.verification.literals import literal_end

_NEAR = 200
_REACH = 600
_REACH_OF_HEADINGS = 2_000
_NUMBER = r"[-+]?\d{1,12}(?:\.\d{1,12})?(?![\w.])"
_TERM = r"[ \t]+(?:\*\*?|//?|[+%])[ \t]+"
_ARITHMETIC = {
    Language.PYTHON: re.compile(rf"{_NUMBER}(?:{_TERM}{_NUMBER})+"),
    Language.JAVASCRIPT: re.compile(rf"{_NUMBER}(?:{_TERM.replace('//?', '/')}{_NUMBER})+"),
}
_STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|(?<!\w)'(?:\\.|[^'\\\n])*'(?!\w)")
_NOT_PLAIN = re.compile(r"`|…|\.\.\.")
_BARE_KEY = re.compile(r"[{,]\s*[A-Za-z_]\w*\s*:")

_CLOSING = re.compile(r"[)\]`\"'*”’»]*")
_ENDED = re.compile(r"[ \t]*(?:\Z|\n|\r)|[.;!](?=[\s)\]`\"'*”’»]|\Z)|[ \t]+(?:#|//|[–—](?=\s))|[ \t]*,(?=\s|\Z)")
_ASSERTED = re.compile(r"\bassert\s+`*\Z")
_COMMA = re.compile(r"[ \t]*,\s*")
_GOES_ON = re.compile(r"(?:or|if|when|unless|only|etc|\.\.|…)(?!\w)", re.IGNORECASE)
_WRAPPED = re.compile(
    r"[ \t]*\r?\n[ \t]*(?!(?:assert|await|expect|test|it|def|return|print|console|let|const|var|for|so|e\.g)\b)[a-z]+(?=[\s.,;:!?]|\Z)"
)
_CALL = r"[`*]*(?:assert\s+|new\s+)?[A-Za-z_$][\w$.]*\("
_CONJUNCTION = re.compile(
    r"\s+(?:(?:while|whereas|because|since)\b"
    rf"|(?:and|but|&&)\s+(?:{_CALL}|(?:it|so|does|must|never|always|raises|throws|then)\b))",
    re.IGNORECASE,
)

_NOT = r"\b(?:not|never|neither|nor|cannot)\b|n[’']t\b"
_WRONG = (
    r"\b(?:bug(?:s|gy)?|wrong(?:ly)?|incorrect(?:ly)?|mistaken(?:ly)?|erroneous(?:ly)?|broken|currently|presently|at present|"
    r"at the moment|actual(?!ly)|formerly|previously|used to|no longer|instead|rather than|regression|false that|unlike)\b"
    r"|\b(?:old|before)(?: \w+)?:"
)
_OUGHT = r"\b(?:should|must|ought|expected|supposed|intended)\b"
_DENIED_BEFORE = re.compile(f"{_NOT}|{_WRONG}", re.IGNORECASE)
_DENIED_BEHIND = re.compile(f"{_NOT}|{_WRONG}|{_OUGHT}", re.IGNORECASE)
_IS_WRONG = re.compile(_WRONG, re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"(?:(?:but|however|yet)\b|(?:(?:this|that|it|which|both|these)\b[^.;!?\n]{0,40}?(?:"
    rf"{_WRONG}|(?:{_NOT})\s+(?:\w+\s+)?(?:right|correct|expected|intended|wanted|what|as)\b"
    r"|\bshould\s+(?:have|be|return|give|yield|equal|raise|throw)\b|\bought\b))"
    r"|should\s+(?:have|be|return|give|yield|equal|raise|throw)\b|instead\b|(?:expected|wanted)\b[^(\n]*(?:\n|\Z))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.;!?](?=[\s)\]`\"'*]|\Z)")
_CLAUSE_END = re.compile(rf"{_SENTENCE_END.pattern}|\b(?:and|while|whereas)\b|&&|{_CALL}", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s.;!)\]`\"'*”’»]*")
_UNFINISHED = re.compile(r"[A-Za-z,]\s*\Z")
_ITEM = re.compile(r"\s*(?:[-*+•>|#]|\d+[.)])\s")
_HEADING = re.compile(r"[ \t]*#+[ \t]|.*:[ \t*_`]*\r?\Z|[ \t]*\*\*[^*]*\*\*[ \t]*\r?\Z")
_OPERAND = re.compile(
    r"(?:[!~]|(?<![\w\s)\]])-|(?<!\S)-"
    r"|[\d)\]][ \t]*-[ \t]*|[\w)\]\"'][ \t]*(?:\+|\*\*?|//?|%)[ \t]+|[\d)\]](?:\+|\*\*?|//?|%)"
    r"|[\w)\]\"'][ \t]*(?:[=!]==?|[<>]=?)[ \t]*"
    r"|\b(?:typeof|not|if|unless|whether|suppose|void|def|func|fn|in|from|than|between|(?<!the result )(?<!the return value )"
    r"(?<!the value )(?<!the output )(?<!the outcome )of)\s+"
    rf"|{_CALL}[^()\n]*\)`*\s+(?:and|or|plus|minus|times|with)\s+)`*\Z",
    re.IGNORECASE,
)


def is_plain(text: str, language: Language) -> bool:
    """Tell whether a call or a value, brackets and quotes apart, has nothing that only a reader can fill in: `…`, markup, bare keys."""
    bare = _STRING.sub("''", text)
    return _NOT_PLAIN.search(bare) is None and (language is not Language.PYTHON or _BARE_KEY.search(bare) is None)


def value_end(text: str, start: int, language: Language) -> int | None:
    """Return the index behind the plain value at `start`, or behind the sum or product of numbers there; None without one."""
    known = Language.PYTHON if language is Language.PYTHON else Language.JAVASCRIPT
    arithmetic = _ARITHMETIC[known].match(text, start)
    return arithmetic.end() if arithmetic is not None else literal_end(text, start)


def is_ended(text: str, start: int, end: int) -> bool:
    """Tell whether what stands from `start` to `end` ends there for a reader too: a unit, a range or a condition would go on."""
    closed = _closed(text, end)
    if _CONJUNCTION.match(text, closed) is not None:
        return True
    comma = _COMMA.match(text, closed)
    is_continued = (
        comma is not None
        and not _has_message(text, start, comma)
        and _is_continued(text[comma.end() : comma.end() + _REACH])
    )
    return not is_continued and _WRAPPED.match(text, closed) is None and _ENDED.match(text, closed) is not None


def is_operand(text: str, start: int) -> bool:
    """Tell whether the call at `start` is a part of what is spoken of: `not f(1)`, `2 * f(1)`, `the length of f(1)`, `def f()`."""
    return _OPERAND.search(text[max(0, start - _NEAR) : start].rpartition("\n")[2]) is not None


def is_denied(text: str, start: int, end: int) -> bool:
    """Tell whether the words around the example from `start` to `end` take it back: it is a bug, or what should not be."""
    before = _STRING.sub("''", _sentence_before(text, start))
    behind = _STRING.sub("''", text[end : end + _REACH])
    return (
        _IS_WRONG.search(before) is not None
        or _DENIED_BEFORE.search(_since_last_call(before)) is not None
        or _DENIED_BEFORE.search(_heading(text, start)) is not None
        or _is_denied_behind(behind)
    )


def _closed(text: str, end: int) -> int:
    match = _CLOSING.match(text, end)
    return match.end() if match is not None else end


def _has_message(text: str, start: int, comma: re.Match[str]) -> bool:
    """Tell whether a text behind a comma is what an assertion says where it fails."""
    return _ASSERTED.search(text[max(0, start - _NEAR) : start]) is not None and text[
        comma.end() : comma.end() + 1
    ] in {'"', "'"}


def _is_continued(behind: str) -> bool:
    """Tell whether more values, or a condition, are behind a comma."""
    return literal_end(behind.removeprefix("and "), 0) is not None or _GOES_ON.match(behind) is not None


def _sentence_before(text: str, start: int) -> str:
    """Return the sentence up to `start`; one may run over lines, but neither into a list's item nor over another call."""
    lines = text[max(0, start - _REACH) : start].split("\n")
    taken = lines.pop()
    while lines and _ITEM.match(taken) is None and _UNFINISHED.search(lines[-1]) and not re.search(_CALL, lines[-1]):
        taken = f"{lines.pop()} {taken}"
    ends = list(_SENTENCE_END.finditer(_STRING.sub(lambda found: "x" * len(found.group()), taken)))
    return taken[ends[-1].end() :] if ends else taken


def _since_last_call(before: str) -> str:
    calls = list(re.finditer(_CALL, before))
    return before[calls[-1].end() :] if calls else before


def _heading(text: str, start: int) -> str:
    """Return the heading that the example stands under: the last line before its own that ends with a colon or is marked as one."""
    lines = text[max(0, start - _REACH_OF_HEADINGS) : start].split("\n")[:-1]
    return next((line for line in reversed(lines) if _HEADING.match(line)), "")


def _is_denied_behind(behind: str) -> bool:
    line, separator, _ = behind.partition("\n")
    sentence = behind if separator and line.rstrip().endswith(",") else line
    finished = _SENTENCE_END.search(sentence)
    stop = finished.start() if finished is not None else len(sentence)
    clause = _CLAUSE_END.search(sentence)
    own = sentence[: clause.start()] if clause is not None else sentence
    separated = _SEPARATOR.match(behind, stop)
    after = separated.end() if separated is not None else stop
    return (
        _DENIED_BEHIND.search(own) is not None
        or _IS_WRONG.search(sentence[:stop]) is not None
        or _TAKEN_BACK.match(behind, after) is not None
    )
