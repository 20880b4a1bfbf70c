"""Expected values, settled before the code has run: a value that two derivations share is one that a claim can stand on.

The model's own value (it saw the body) is one derivation, each reference another. Nothing here knows what the code gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from shared.sandbox.model import Language, Observation, Outcome, Probe
from shared.verification.items import Json
from shared.verification.references import Reference, tried, value_of
from shared.verification.rulings import Basis
from shared.verification.tools import Tools, side_by_side

_FEWEST = 3


@dataclass(frozen=True)
class Settled:
    """A probe with the expected value that has the most support, and everyone who gave one. `is_unanimous`: all gave this one."""

    probe: Probe
    basis: Basis
    derivations: tuple[Json, ...]
    is_unanimous: bool = False


def settled(
    probes: Sequence[Probe], references: Sequence[Reference], language: Language, tools: Tools
) -> tuple[Settled, ...]:
    """Return the probes whose value at least two derivations share; others only where fewer than three are left."""
    given = side_by_side([partial(_given, reference, language, probes, tools) for reference in references])
    wished = [_wished(probe, [seen[index] for seen in given]) for index, probe in enumerate(probes)]
    changed = [index for index, probe in enumerate(wished) if probe is not None and probe != probes[index]]
    confirmed = _confirmed([wished[index] for index in changed], references, language, tools)
    agreed: list[Settled] = []
    weak: list[Settled] = []
    for index, probe in enumerate(probes):
        derivations = _derivations(probe, references, [seen[index] for seen in given])
        best = wished[index]
        if best is not None and (index not in changed or confirmed[changed.index(index)]):
            agreed.append(
                Settled(best, Basis.AGREED, derivations, _is_unanimous(best, probe, [seen[index] for seen in given]))
            )
        elif probe.expected is not None or probe.raises is not None:
            weak.append(Settled(probe, Basis.MODEL, derivations))
    return (*agreed, *weak[: max(0, _FEWEST - len(agreed))])


def changing(
    probes: Sequence[tuple[Probe, str]], references: Sequence[Reference], language: Language, tools: Tools
) -> tuple[Reference, ...]:
    """Return the references that change an argument in some call; `probes`: what looks at the arguments, with what they were before.

    A reference that changes none has done something else, and has nothing to say about what is left of them.
    """
    same = [replace(probe, expected=before) for probe, before in probes]
    return tuple(
        reference
        for reference in references
        if any(observation.matches is False for observation in tried(reference, language, same, tools))
    )


def _is_unanimous(best: Probe, probe: Probe, seen: Sequence[_Given]) -> bool:
    return best == probe and all(given.judged.matches for given in seen)


@dataclass(frozen=True)
class _Given:
    """What a reference gave to a call beside what the model expects of it, and to the bare call where that is no value."""

    bare: Observation
    judged: Observation


def _given(reference: Reference, language: Language, probes: Sequence[Probe], tools: Tools) -> list[_Given]:
    judged = tried(reference, language, probes, tools)
    ill = [index for index, observation in enumerate(judged) if observation.outcome is Outcome.BAD_PROBE]
    bare = [replace(probes[index], expected=None, raises=None) for index in ill]
    again = dict(zip(ill, tried(reference, language, bare, tools), strict=True)) if ill else {}
    return [_Given(again.get(index, observation), observation) for index, observation in enumerate(judged)]


def _wished(probe: Probe, seen: Sequence[_Given]) -> Probe | None:
    """Return the probe with the value that two derivations share; None where no two do."""
    if any(given.judged.matches for given in seen):
        return probe
    for given in seen:
        if given.judged.alike and given.bare.actual is not None:
            return replace(probe, expected=given.bare.actual, raises=None)
    values = [given.bare.actual for given in seen if given.bare.outcome is Outcome.RETURNED]
    shared = next((value for value in values if value is not None and values.count(value) > 1), None)
    return None if shared is None else replace(probe, expected=shared, raises=None)


def _confirmed(
    probes: Sequence[Probe | None], references: Sequence[Reference], language: Language, tools: Tools
) -> list[bool]:
    """Tell of each changed probe whether its value can be written down: some reference, run again, is found equal to it."""
    wanted = [probe for probe in probes if probe is not None]
    if not wanted:
        return []
    seen = side_by_side([partial(tried, reference, language, wanted, tools) for reference in references])
    return [any(observations[index].matches for observations in seen) for index in range(len(wanted))]


def _derivations(probe: Probe, references: Sequence[Reference], seen: Sequence[_Given]) -> tuple[Json, ...]:
    believed = probe.expected if probe.raises is None else f"raises {probe.raises}"
    own = () if believed is None else ({"by": "model", "number": 0, "gives": believed, "code": None},)
    written = [
        {"by": "reference", "number": reference.number, "gives": value_of(given.bare), "code": reference.code}
        for reference, given in zip(references, seen, strict=True)
    ]
    return (*own, *written)
