"""What a model is shown of a text that is longer than its share: of words the sentences that matter, of code whole functions.

What fits is shown as it is. What is left out of words is marked `…`; what is left out of code is named, so that the answer can say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.source.blanking import without_comments
from shared.source.lines import lines_of
from shared.source.outline import Function, Kind, outline
from shared.source.pieces import Piece, pieces

_MARK = "… "
_SENTENCE = re.compile(
    r">>>[^\n]*\n[^\n]*\n*|[^\n]{1,400}?(?:[.!?;][ \t]+|\n+|\Z)|[^\n]{1,400}(?<=\s)|[^\n]{1,400}|\n+"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_FEWEST_LETTERS = 3
_STEM = 6
_MOST_NAMED = 20


@dataclass(frozen=True)
class ShownCode:
    """Code without comments as a model sees it, and what of it the model does not see or not wholly: functions, or else lines."""

    text: str
    passed_over: tuple[str, ...] = ()


def excerpt(text: str, most: int, names: Iterable[str], *, is_end_kept: bool = False) -> str:
    """Return at most `most` characters of `text`, in its order: the sentences with one of `names`, those with a word of one, others.

    The others from the start; where the end counts too, every third from there.
    """
    if len(text) <= most:
        return text
    sentences = _SENTENCE.findall(text)
    chosen: dict[int, str] = {}
    left = most
    for place in _by_weight(sentences, tuple(names), is_end_kept=is_end_kept):
        left -= 2 * len(_MARK)
        if left <= 0:
            break
        chosen[place] = _head(sentences[place], left)
        left -= min(left, len(sentences[place]))
    return "".join(_marked(sentences, chosen))


def shown_code(code: str, language: str, most: int) -> ShownCode:
    """Return the code; where it is longer than `most` without blank lines too, the first piece with a function in it.

    A piece ends where a function does, wherever one fits.
    """
    bare = without_comments(code, language)
    if len(bare) <= most:
        return ShownCode(bare)
    lines = lines_of(bare)
    kept = [number for number, line in enumerate(lines, 1) if line.strip()]
    dense = "".join(f"{lines[number - 1].rstrip()}\n" for number in kept)
    cut = pieces(dense, language, most)
    if len(cut) <= 1:
        return ShownCode(dense, () if cut else (f"lines 1 to {len(lines)}",))
    functions = [one for one in outline(dense, language).functions if one.kind is not Kind.CLASS]
    shown = next((piece for piece in cut if any(_overlap(piece, one) for one in functions)), cut[0])
    outside = [one.qualified for one in functions if not _holds(shown, one)]
    return ShownCode(shown.code, tuple(dict.fromkeys(outside)) or tuple(_other_lines(shown, kept)))


def listed(passed_over: Sequence[str]) -> str:
    """Return the names as a sentence lists them, the first twenty of them."""
    more = len(passed_over) - _MOST_NAMED
    return ", ".join(passed_over[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _by_weight(sentences: Sequence[str], names: Sequence[str], *, is_end_kept: bool) -> Iterator[int]:
    """Yield the places of the sentences, those that matter most first."""
    bare = [name.strip("*.&") for name in names]
    whole = _any_of(rf"(?<![\w$]){re.escape(name)}(?![\w$])" for name in bare if len(name) >= _FEWEST_LETTERS)
    words = {word.lower() for name in bare for word in _WORD.findall(name) if len(word) > _FEWEST_LETTERS}
    stems = _any_of(rf"(?<![A-Za-z]){re.escape(word.removesuffix('s')[:_STEM])}" for word in sorted(words))
    left = dict.fromkeys(range(len(sentences)))
    for pattern in (whole, stems):
        found = [place for place in left if pattern is not None and pattern.search(sentences[place])]
        for place in found:
            del left[place]
        yield from found
    yield from _from_both_ends(list(left)) if is_end_kept else left


def _head(sentence: str, most: int) -> str:
    """Return as much of a sentence as there is room for, whole words if it has any."""
    if len(sentence) <= most:
        return sentence
    words = sentence[:most].rpartition(" ")
    return words[0] + words[1] or sentence[:most]


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(patterns)
    return re.compile(joined, re.IGNORECASE) if joined else None


def _from_both_ends(places: list[int]) -> Iterator[int]:
    first, last = 0, len(places) - 1
    for turn in range(len(places)):
        if turn % 3 == 2:
            yield places[last]
            last -= 1
        else:
            yield places[first]
            first += 1


def _marked(sentences: Sequence[str], chosen: dict[int, str]) -> Iterator[str]:
    """Yield what was chosen in the order of the text, with a mark for each gap."""
    last = -1
    for place in sorted(chosen):
        if place != last + 1:
            yield _MARK
        yield chosen[place]
        last = place if chosen[place] == sentences[place] else place - 1
    if last != len(sentences) - 1:
        yield _MARK.strip()


def _overlap(piece: Piece, function: Function) -> bool:
    return function.first_line <= piece.last_line and piece.first_line <= function.last_line


def _holds(piece: Piece, function: Function) -> bool:
    return piece.first_line <= function.first_line and function.last_line <= piece.last_line


def _other_lines(shown: Piece, kept: Sequence[int]) -> Iterator[str]:
    """Yield which lines of the code are not in the piece, whose own lines are counted without blank ones."""
    others = [part for part in (kept[: shown.first_line - 1], kept[shown.last_line :]) if part]
    for part in others:
        yield f"lines {part[0]} to {part[-1]}"
    if not others:
        yield f"the rest of line {kept[shown.last_line - 1]}"
