"""What is out of the ordinary about a call's arguments, and whether the caller's words speak of it.

A FAIL rests on behaviour inside the stated contract. None, an empty list or a number among texts is inside only if the context says
so; on zero and negative numbers we ask that every derivation agrees.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from shared.verification.literals import arguments, names, parts


class Trait(StrEnum):
    """Something that makes an argument special."""

    NOTHING = "nothing"
    EMPTY = "empty"
    NOT_FINITE = "not_finite"
    OTHER_KIND = "other_kind"
    ZERO = "zero"
    NEGATIVE = "negative"


BORDER = frozenset({Trait.ZERO, Trait.NEGATIVE})
"""Ordinary for many functions, outside of the contract of some."""
_EMPTY = frozenset({"[]", "{}", "()", '""', "''", "``", "set()", "newSet()", "newMap()", "dict()", "list()", "tuple()"})
_NOTHING = frozenset({"None", "null", "undefined"})
_NOT_FINITE = frozenset({"NaN", "Infinity", "nan", "inf"})
_NUMBER = re.compile(r"(?P<minus>-)?\s*(?P<digits>\d[\d_]*\.?\d*)\Z")
_SPOKEN = {
    Trait.NOTHING: re.compile(r"\b(?:none|null|undefined|nothing|missing|absent|optional)\b", re.IGNORECASE),
    Trait.EMPTY: re.compile(
        r"(?<!non-)(?<!non )(?<!not )\b(?:empty|blank|no (?:items?|elements?|values?|numbers?|words?|characters?))\b",
        re.IGNORECASE,
    ),
    Trait.NOT_FINITE: re.compile(r"\b(?:nan|infinit\w*|not a number|finite)\b", re.IGNORECASE),
    Trait.OTHER_KIND: re.compile(r"\b(?:types?|invalid|any value|anything|mixed)\b", re.IGNORECASE),
    Trait.ZERO: re.compile(r"\b(?:zero|0|non-?negative)\b", re.IGNORECASE),
    Trait.NEGATIVE: re.compile(
        r"(?<!non-)(?<!non )(?<!not )\b(?:negatives?|below zero|less than zero|sign|absolute|integers)\b|(?<![\w.])-\d",
        re.IGNORECASE,
    ),
}
_EXCLUDED = {
    Trait.ZERO: re.compile(
        r"\b(?:positive|natural|greater than zero|above zero|at least (?:1|one)|from (?:1|one))\b", re.IGNORECASE
    ),
    Trait.NEGATIVE: re.compile(
        r"\b(?:positive|natural|non-?negative|greater than zero|above zero|at least (?:0|1|zero|one)|from (?:0|1|zero|one))\b",
        re.IGNORECASE,
    ),
}


def traits(call: str) -> frozenset[Trait]:
    """Return what is special about the arguments of `call`, at the top or one level inside of a list."""
    found: set[Trait] = set()
    for argument in arguments(call) or ():
        found |= _of_value(argument)
        if argument[:1] in "[(" and argument[-1:] in ")]":
            for part in parts(argument[1:-1]):
                found |= _of_value(part) & {Trait.NOTHING, Trait.NOT_FINITE}
    return frozenset(found)


def odd_kinds(calls: Sequence[str]) -> frozenset[int]:
    """Return which of the calls to one function hand over, somewhere, a kind of value that most of the others don't."""
    shapes = [tuple(map(_kind, arguments(call) or ())) for call in calls]
    odd: set[int] = set()
    for place in range(max(map(len, shapes), default=0)):
        kinds = Counter(shape[place] for shape in shapes if len(shape) > place)
        usual, count = kinds.most_common(1)[0]
        if count * 2 <= sum(kinds.values()):
            continue
        odd |= {
            index
            for index, shape in enumerate(shapes)
            if len(shape) > place and shape[place] not in (usual, "nothing", "?")
        }
    return frozenset(odd)


def unspoken(found: frozenset[Trait], context: str | None) -> frozenset[Trait]:
    """Return those of the traits that the context says nothing about."""
    return frozenset(trait for trait in found if not context or _SPOKEN[trait].search(context) is None)


def outside(found: frozenset[Trait], context: str | None) -> frozenset[Trait]:
    """Return those of the traits by which an input lies outside of the stated contract: nobody spoke of them, or they are excluded."""
    strange = unspoken(found, context)
    return frozenset(
        trait for trait in strange if trait not in BORDER or (context and _EXCLUDED[trait].search(context) is not None)
    )


def _of_value(text: str) -> set[Trait]:
    if text in _NOTHING:
        return {Trait.NOTHING}
    if text in _NOT_FINITE or any(word in _NOT_FINITE for word, _ in names(text)):
        return {Trait.NOT_FINITE}
    if text.replace(" ", "") in _EMPTY:
        return {Trait.EMPTY}
    number = _NUMBER.match(text)
    if number is None:
        return set()
    is_zero = float(number["digits"].replace("_", "")) == 0
    return {Trait.ZERO} if is_zero else {Trait.NEGATIVE} if number["minus"] else set()


def _kind(text: str) -> str:
    if text[:1] in "\"'`":
        return "text"
    if _NUMBER.match(text) or text in _NOT_FINITE:
        return "number"
    if text in ("True", "False", "true", "false"):
        return "truth"
    if text in _NOTHING:
        return "nothing"
    return {"[": "list", "{": "mapping", "(": "list"}.get(text[:1], "?")
