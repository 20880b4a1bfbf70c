"""What an instance of the Python sandbox left behind, read as an observation. Trusts none of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.sandbox.model import (
    ENDED_ITSELF,
    MOST_OUTPUT_CHARS,
    MOST_VALUE_CHARS,
    NO_TIME_LEFT,
    Observation,
    Outcome,
)
from shared.sandbox.values import Malformed, Node, alike, digest_of, equal, equal_in_python, text_of

MOST_REPORT = 1 << 20
ANY_EXCEPTION = "*"
_UNREADABLE = (Malformed, ValueError, TypeError, IndexError, KeyError, RecursionError)
_NO_REPORT = "the program broke the report of its own run"


class Ending(StrEnum):
    """How an instance came to its end."""

    EXITED = "exited"
    TRAPPED = "trapped"
    TIMED_OUT = "timed_out"
    CUT_SHORT = "cut_short"
    FLOODED = "flooded"


@dataclass(frozen=True)
class Ended:
    """An instance that is over.

    `detail`: exit status or trap; `report`: what followed the harness's word; `is_full`: its memory was used up.
    """

    ending: Ending
    detail: str
    report: bytes
    output: bytes
    is_full: bool
    duration_ms: int


def observed(ended: Ended, *, raises: str | None, expected: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the observation of one probe, as JSON.

    `expected`: `{"value": node}` or `{"error": text}`, from an instance that never held the code.
    """
    if expected is not None and "error" in expected:
        return _observation(ended, Outcome.BAD_PROBE, error=f"expected value: {expected['error']}")
    node = None if expected is None else expected["value"]
    try:
        shown = None if node is None else text_of(node, most=MOST_VALUE_CHARS)
    except _UNREADABLE:
        return _observation(ended, Outcome.BAD_PROBE, error="expected value: it cannot be read")
    if ended.ending is not Ending.EXITED or not ended.report:
        return _unreported(ended, shown)
    try:
        return _reported(ended, json.loads(ended.report), raises=raises, expected=node, shown=shown)
    except _UNREADABLE:
        return _observation(ended, Outcome.CRASHED, expected=shown, error=_NO_REPORT)


def expected_nodes(ended: Ended, *, count: int) -> list[dict[str, Any]] | None:
    """Return what each of `count` expected values came to, or None if their instance came to a bad end."""
    try:
        values = json.loads(ended.report)["values"]
    except _UNREADABLE:
        return None
    if not isinstance(values, list) or len(values) != count:
        return None
    return values


def _unreported(ended: Ended, shown: str | None) -> dict[str, Any]:
    match ended.ending:
        case Ending.TIMED_OUT:
            return _observation(ended, Outcome.TIMED_OUT, expected=shown)
        case Ending.CUT_SHORT:
            return _observation(ended, Outcome.NOT_TRIED, expected=shown, error=NO_TIME_LEFT)
        case Ending.FLOODED:
            return _observation(ended, Outcome.TOO_MUCH_OUTPUT, expected=shown)
    if ended.is_full:
        return _observation(ended, Outcome.OUT_OF_MEMORY, expected=shown)
    said = f"the interpreter stopped: {ended.detail}"
    if ended.ending is Ending.EXITED:
        said = f"{ENDED_ITSELF} with status {ended.detail}"
    return _observation(ended, Outcome.CRASHED, expected=shown, error=said)


def _reported(
    ended: Ended, report: Mapping[str, Any], *, raises: str | None, expected: Node | None, shown: str | None
) -> dict[str, Any]:
    outcome = Outcome(report["outcome"])
    if outcome is Outcome.RETURNED:
        return _returned(ended, report["value"], raises=raises, expected=expected, shown=shown)
    matches = None
    if outcome is Outcome.RAISED and report["stage"] == "call":
        matches = _is_named(raises, report["mro"]) if raises is not None or expected is not None else None
    elif outcome is Outcome.BAD_PROBE and report.get("stage") == "call" and _is_misfit_meant(raises, report):
        outcome, matches = Outcome.RAISED, True
    return _observation(ended, outcome, expected=shown, matches=matches, alike=matches, error=_error(report))


def _returned(
    ended: Ended, node: Node, *, raises: str | None, expected: Node | None, shown: str | None
) -> dict[str, Any]:
    same: bool | None = None
    near: bool | None = None
    own: bool | None = None
    if expected is not None:
        same = equal(expected, node)
        near = same or alike(expected, node)
        own = same or equal_in_python(expected, node)
    elif raises is not None:
        same = near = False
    actual = text_of(node, most=MOST_VALUE_CHARS)
    document = _observation(ended, Outcome.RETURNED, actual=actual, expected=shown, matches=same, alike=near)
    return {**document, "is_equal": own, "digest": digest_of(node)}


def _is_named(raises: str | None, mro: list[str]) -> bool:
    """True where the exception is of the type that was named, or of one derived from it, as `except` would have it."""
    return raises is not None and (raises.strip() == ANY_EXCEPTION or raises.strip().rpartition(".")[2] in mro)


def _is_misfit_meant(raises: str | None, report: Mapping[str, Any]) -> bool:
    """True where arguments do not fit and just that is asked for, by its name. `*` and base classes do not ask for it.

    A name or member that is not there never counts: code that lacks it raises nothing of its own.
    """
    return raises is not None and raises.strip() == report["type"] == "TypeError"


def _error(report: Mapping[str, Any]) -> str:
    said = str(report.get("message", ""))
    named = f"{report['type']}: {said}" if "type" in report else said
    return f"in the setup: {named}" if report.get("stage") == "setup" else named


def _observation(ended: Ended, outcome: Outcome, **members: Any) -> dict[str, Any]:
    output = ended.output.decode("utf-8", "replace")[: MOST_OUTPUT_CHARS + 1]
    return Observation(outcome=outcome, output=output, duration_ms=ended.duration_ms, **members).to_json()
