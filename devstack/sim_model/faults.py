"""Faults on demand: how they are written, and what one request has to meet. The package docstring is their manual."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

REFUSE_MARKER = "refuse"
DEFECT_MARKER = "defect"
NEVER = -1
"""`hang` without a number: before the status line."""

_MARKER = re.compile(r"\[sim:([a-z_]+(?::[^\]\s]*)?)\]")
_LONGEST_S = 3600.0


class UnknownFault(ValueError):
    """A fault that is misspelt, or whose argument is out of bounds."""


@dataclass(frozen=True)
class FaultPlan:
    """What one request meets. Fields named `_after` count content chunks; None means that the fault is not asked for."""

    latency_s: float = 0.0
    ttft_s: float = 0.0
    pace_s: float = 0.0
    total_s: float | None = None
    status: int | None = None
    retry_after_s: int = 1
    drop: bool = False
    disconnect_after: int | None = None
    truncate_after: int | None = None
    error_after: int | None = None
    hang_after: int | None = None
    garbage_json: bool = False
    garbage_content: bool = False
    no_usage: bool = False
    usage_late_s: float = 0.0
    gzip: bool = False
    empty: bool = False
    refusal: bool = False
    tokens: int | None = None


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and 0 <= value <= _LONGEST_S):
        raise ValueError(text)
    return value


def _chunks(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1_000_000:
        raise ValueError(text)
    return value


_WITH_ARGUMENT: dict[str, tuple[str, Callable[[str], Any], Any]] = {
    # name: (field, parser, value where the argument is left out; None: it may not be)
    "latency": ("latency_s", _seconds, None),
    "ttft": ("ttft_s", _seconds, None),
    "pace": ("pace_s", _seconds, None),
    "total": ("total_s", _seconds, None),
    "disconnect": ("disconnect_after", _chunks, 0),
    "truncate": ("truncate_after", _chunks, 0),
    "error_event": ("error_after", _chunks, 0),
    "hang": ("hang_after", _chunks, NEVER),
    "usage_late": ("usage_late_s", _seconds, 0.3),
    "tokens": ("tokens", _chunks, None),
}
_FLAGS = frozenset({"drop", "garbage_json", "garbage_content", "no_usage", "gzip", "empty", "refusal"})


def markers_in(text: str) -> list[str]:
    """Return the faults named by `[sim:…]` markers in `text`; the markers that shape an answer are no faults."""
    return [marker for marker in _MARKER.findall(text) if marker not in (REFUSE_MARKER, DEFECT_MARKER)]


def asks_to_refuse(text: str) -> bool:
    """Say whether `text` holds the marker that makes an evaluation refuse."""
    return f"[sim:{REFUSE_MARKER}]" in text


def plan_of(faults: Iterable[str]) -> FaultPlan:
    """Return what these faults amount to together. Raises `UnknownFault`."""
    plan = FaultPlan()
    for fault in faults:
        name, _, argument = fault.strip().partition(":")
        try:
            plan = replace(plan, **_fields(name, argument))
        except ValueError as error:
            raise UnknownFault(f"no such fault: {fault!r}") from error
    return plan


def _fields(name: str, argument: str) -> dict[str, Any]:
    if name == "status":
        return _status(argument)
    if name in _FLAGS and not argument:
        return {name: True}
    if name not in _WITH_ARGUMENT:
        raise ValueError(name)
    field, parse, default = _WITH_ARGUMENT[name]
    if argument:
        return {field: parse(argument)}
    if default is None:
        raise ValueError(name)
    return {field: default}


def _status(argument: str) -> dict[str, Any]:
    status, _, retry_after = argument.partition(":")
    if not 400 <= int(status) <= 599:
        raise ValueError(argument)
    return {"status": int(status), "retry_after_s": _chunks(retry_after) if retry_after else 1}


@dataclass
class StandingFault:
    """A fault set through `POST /faults`. `times` counts down; None is for ever."""

    fault: str
    times: int | None
    match: str


class FaultBook:
    """The standing faults, oldest first."""

    def __init__(self) -> None:
        self._standing: list[StandingFault] = []

    def add(self, order: object) -> StandingFault:
        """Take the body of `POST /faults`. Raises `UnknownFault`."""
        if not isinstance(order, dict) or not isinstance(order.get("fault"), str):
            raise UnknownFault("a fault is an object with a string `fault`")
        times, match = order.get("times", 1), order.get("match", "")
        whole = isinstance(times, int) and not isinstance(times, bool) and times >= 1
        if not (times is None or whole) or not isinstance(match, str):
            raise UnknownFault("`times` is a whole number from 1 or null, `match` a string")
        plan_of(order["fault"].split(","))
        standing = StandingFault(order["fault"], times, match)
        self._standing.append(standing)
        return standing

    def take(self, text: str) -> list[str]:
        """Return the faults that a request with this text meets, and count one use."""
        for standing in self._standing:
            if standing.match in text:
                if standing.times is not None:
                    standing.times -= 1
                self._standing = [left for left in self._standing if left.times != 0]
                return standing.fault.split(",")
        return []

    def clear(self) -> None:
        """Forget every standing fault."""
        self._standing = []

    def listing(self) -> list[dict[str, Any]]:
        """Return the standing faults as `POST /faults` takes them."""
        return [{"fault": one.fault, "times": one.times, "match": one.match} for one in self._standing]
