"""Take personal data out of texts (`redact_pii`), whole or as they stream.

What is found: e-mail and IP addresses, phone, payment card and bank account numbers, national ids. Each becomes a word such as
`[email]`; findings that overlap become one, so that no part of any is left. A line break ends a number. Names, streets and
whatever has no form are not found (`docs/decisions/0015`).

A stream holds back what may still become a finding: from the first word that could begin one, 1.3 kB at most. Its output is that
of the whole text, wherever the borders of its pieces lie. It fails closed: after a fault nothing of what is held ever leaves.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from shared.inference.findings import FINDERS, LONGEST, Kind
from shared.kernel.errors import LucidError

WINDOW = LONGEST + 8
STRETCH = 32 * 1024
"""So many characters of a whole text are searched at a time: well below a second, however hostile they are."""
CONTEXT = 4
"""So much of what has left is kept: patterns look back, over two characters at most."""

_POSSIBLE = re.compile(r"[\d@]")
_WORDS = re.compile(r"\S+")
_STARTS = re.compile(r"\d|[+\uff0b]\Z|[A-Z]{2}\Z")
_LINKS = re.compile(r"(?:(?![^\W\d_]{5})[\w()\-\u2010-\u2014./])+\Z")
_SMALL_GAP = re.compile(r"[ \t\u00a0\u2009\u202f]{0,3}\Z")


class RedactionFailed(LucidError):
    """A text could not be searched for personal data, so it goes nowhere."""

    code = "REDACTION_FAILED"


class Redactor:
    """Redacts whole texts. `check` is called now and then in long ones, and may raise to leave."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check

    def text(self, whole: str) -> str:
        """Return `whole` without personal data. Raises `RedactionFailed`, and what `check` raises."""
        stream, clean = StreamRedactor(), []
        for start in range(0, len(whole), STRETCH):
            self._check()
            clean.append(stream.feed(whole[start : start + STRETCH]))
        return "".join(clean) + stream.flush()


class StreamRedactor:
    """Redacts one text that comes in pieces; one instance a text."""

    def __init__(self) -> None:
        self._text = ""
        self._searched = 0
        """Up to here nothing starts any more that is not known."""
        self._written = 0
        """Up to here all has left, or was replaced."""
        self._is_dead = False

    def feed(self, text: str) -> str:
        """Take the next piece; return what may leave. Raises `RedactionFailed`."""
        return self._guarded(text, is_last=False)

    def flush(self) -> str:
        """Return the rest: the text has ended. Raises `RedactionFailed`."""
        return self._guarded("", is_last=True)

    def _guarded(self, text: str, *, is_last: bool) -> str:
        if self._is_dead:
            raise RedactionFailed("the redaction of this text has failed before")
        try:
            self._text += text
            return self._up_to(len(self._text) if is_last else _settled(self._text, self._searched))
        except Exception as fault:  # noqa: BLE001 - whatever it is, nothing may leave, not even in a traceback
            self._is_dead, self._text = True, ""
            raise RedactionFailed(f"a text could not be searched for personal data: {type(fault).__name__}") from None

    def _up_to(self, limit: int) -> str:
        if limit <= self._searched:
            return ""
        text, pieces = self._text, []
        for start, end, kind in findings_in(text, self._searched, limit):
            if start >= self._written:
                pieces += [text[self._written : start], str(kind)]
            self._written = max(self._written, end)
        pieces.append(text[self._written : limit])
        self._written = max(self._written, limit)
        self._searched = limit
        self._forget(limit - CONTEXT)
        return "".join(pieces)

    def _forget(self, count: int) -> None:
        if count > 0:
            self._text = self._text[count:]
            self._searched -= count
            self._written -= count


def findings_in(text: str, start: int, end: int) -> list[tuple[int, int, Kind]]:
    """Return (start, end, kind) of what starts in `text[start:end]`, in order of start, the longest first."""
    if _POSSIBLE.search(text, start) is None:
        return []
    found = [(first, last, finder.kind) for finder in FINDERS for first, last in finder.within(text, start, end)]
    return sorted(
        found, key=lambda finding: (finding[0], -finding[1])
    )  # stable: of equals the first finder's stays first


def _settled(text: str, start: int) -> int:
    """Return up to where no start of a finding depends on what comes next."""
    open_from = _open_from(text, start)
    return max(open_from, len(text) - WINDOW) if len(text) - start > 2 * WINDOW else open_from


def _open_from(text: str, start: int) -> int:
    """Return where the words begin that, with what comes next, may be one finding: the last word, and those linked to it.

    No finding crosses a gap that is not small, nor a word that does not link; only an address is without a word that starts one.
    """
    words = list(_WORDS.finditer(text, max(start, len(text) - 2 * WINDOW)))
    open_from = border = len(text)
    if words and words[-1].end() == border:
        last = words.pop()
        open_from = border = last.start()
        if not _is_linked(last.group()):
            return open_from
    for word in reversed(words):
        if _SMALL_GAP.match(text[word.end() : border]) is None or not _is_linked(word.group()):
            break
        border = word.start()
        if _STARTS.search(word.group()):
            open_from = border
    return open_from


def _is_linked(word: str) -> bool:
    return _STARTS.search(word) is not None or _LINKS.match(word) is not None
