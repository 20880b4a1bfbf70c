"""More calls, made by rule from those the model wrote: it likes sorted lists and one pair of limits, and defects hide behind both.

Nobody has said what these calls should give. They become claims only where the references agree on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from shared.sandbox.model import Probe
from shared.verification.literals import arguments, last_brackets, parts

MOST_VARIATIONS = 3
_FEWEST_ITEMS = 3
_ORDERED = re.compile(r"\b(?:sorted|ascending|descending|ordered|increasing|binary)\b", re.IGNORECASE)
_DISTINCT = re.compile(r"\b(?:distinct|unique|without (?:duplicates|repeats))\b", re.IGNORECASE)


def variations(probes: Sequence[Probe], context: str | None) -> tuple[Probe, ...]:
    """Return up to three new calls: a list in another order, one with a repeated item, first arguments exchanged.

    A list stays in order, or without repeats, where the context or the call has a word for that.
    """
    known = {_squeezed(probe.call) for probe in probes}
    found: dict[str, Probe] = {}
    plain = [probe for probe in probes if not probe.setup]
    for call in (*_first(_reordered(plain, context)), *_first(_repeated(plain, context)), *_first(_exchanged(plain))):
        if _squeezed(call) not in known:
            found.setdefault(_squeezed(call), Probe(call=call))
    return tuple(found.values())[:MOST_VARIATIONS]


def _reordered(probes: Sequence[Probe], context: str | None) -> Iterator[str]:
    for probe, given, place, items in _lists(probes):
        if _is_ordered(probe, context):
            continue
        mixed = [*items[1::2], *items[::2]]
        if mixed != items:
            yield _called(probe.call, [*given[:place], f"[{', '.join(mixed)}]", *given[place + 1 :]])


def _repeated(probes: Sequence[Probe], context: str | None) -> Iterator[str]:
    for probe, given, place, items in _lists(probes):
        if _is_ordered(probe, context) or _DISTINCT.search(context or "") or len(set(items)) < len(items):
            continue
        yield _called(probe.call, [*given[:place], f"[{', '.join([*items, items[0]])}]", *given[place + 1 :]])


def _is_ordered(probe: Probe, context: str | None) -> bool:
    """Tell whether lists are to be in order: then a repeated item is not safe either, as a search may find any of them."""
    return _ORDERED.search(f"{context or ''} {probe.call.replace('_', ' ')}") is not None


def _exchanged(probes: Sequence[Probe]) -> Iterator[str]:
    """Yield calls whose first argument comes from another call, the others staying together."""
    known = {_squeezed(probe.call) for probe in probes}
    taken = [(probe, arguments(probe.call) or ()) for probe in probes]
    for probe, given in taken:
        for _, others in reversed(taken):
            if len(given) == len(others) > 1 and others[0] != given[0] and others[1:] != given[1:]:
                call = _called(probe.call, [others[0], *given[1:]])
                if _squeezed(call) not in known:
                    yield call


def _lists(probes: Sequence[Probe]) -> Iterator[tuple[Probe, list[str], int, list[str]]]:
    """Yield each argument that is a list of at least three items, the longest lists first."""
    found: list[tuple[Probe, list[str], int, list[str]]] = []
    for probe in probes:
        given = list(arguments(probe.call) or ())
        for place, argument in enumerate(given):
            if argument[:1] == "[" and argument[-1:] == "]":
                items = list(parts(argument[1:-1]))
                if len(items) >= _FEWEST_ITEMS:
                    found.append((probe, given, place, items))
    yield from sorted(found, key=lambda entry: -len(entry[3]))


def _called(call: str, given: Sequence[str]) -> str:
    """Return `call` with other arguments in its last brackets."""
    start, end = last_brackets(call) or (len(call), len(call))
    return f"{call[:start]}({', '.join(given)}){call[end:]}"


def _first(calls: Iterator[str]) -> Iterator[str]:
    """Yield the first, if there is one."""
    for call in calls:
        yield call
        return


def _squeezed(text: str) -> str:
    return "".join(text.split())
