"""What is asked of submitted code, and what was seen when it ran.

A `Probe` is a call and what it is expected to give; an `Observation` is what one run of it gave. Nothing here says whether the code is
right: an expected value is whatever the asker believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.kernel.errors import Unavailable

MOST_VALUE_CHARS = 2_000
MOST_ERROR_CHARS = 500
MOST_OUTPUT_CHARS = 4_000
NO_TIME_LEFT = "no time was left to try this probe"
ENDED_ITSELF = "the code ended its own run"
"""What the error of a `crashed` probe begins with where it was the code that left, and nothing broke."""
_CUT = "…"


class SandboxUnavailable(Unavailable):
    """The sandbox itself cannot be started: a fault of the service, never of the code that was to run."""

    code = "sandbox_unavailable"


class Language(StrEnum):
    """What can be run."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"


class Outcome(StrEnum):
    """How one probe ended."""

    RETURNED = "returned"
    RAISED = "raised"
    NOT_LOADED = "not_loaded"
    BAD_PROBE = "bad_probe"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    TOO_MUCH_OUTPUT = "too_much_output"
    REFUSED = "refused"
    CRASHED = "crashed"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True)
class Limits:
    """What a run may use. All but `run_s` are for one probe; `run_s` is for all probes of one run together.

    A probe that `run_s` leaves no time for, or less than its `wall_s` and it did not end in that, is `not_tried`. `output_bytes` bounds
    what the code prints; the value it gives has a bound of its own. `hash_seed` bounds nothing: it gives Python's sets of texts their
    order, so that runs under two of them tell what hangs on it.
    """

    wall_s: float = 10.0
    cpu_s: int = 8
    memory_mb: int = 256
    output_bytes: int = 64 * 1024
    run_s: float = 60.0
    hash_seed: int = 0


@dataclass(frozen=True)
class Probe:
    """One call. `call` and `expected` are expressions in the code's own language, `setup` statements that come before the call.

    `expected` is evaluated where the submitted code is not. `raises`: the name of the exception's type, `*` for any. With neither
    of them the probe only looks what happens.
    """

    call: str
    expected: str | None = None
    raises: str | None = None
    setup: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a plain document, safe to store: no NUL, no lone surrogates."""
        return {
            "call": storable(self.call),
            "expected": _storable(self.expected),
            "raises": _storable(self.raises),
            "setup": storable(self.setup),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Probe:
        """Read what `to_json` wrote."""
        return cls(
            call=document["call"],
            expected=document.get("expected"),
            raises=document.get("raises"),
            setup=document.get("setup") or "",
        )


@dataclass(frozen=True)
class Observation:
    """What one run of a probe gave.

    `actual`, `expected`: canonical text of the values. `matches`: strictly equal all the way down (floats within 1e-9 of the expected
    one, relative, absolute where that is 0; NaN equals NaN, -0 equals 0, a bool is no int), or the exception that was named was raised;
    None where nothing was expected or nothing can be said. `alike`: also equal when list and tuple, 1 and 1.0, null and undefined are not
    told apart. `error`: `ValueError: text`; for a refused, crashed or bad probe what was wrong. `output`: what was printed, both streams.

    Two members are known while the run is judged and are no part of the document, in Python alone. `is_equal`: equal as its own == has
    it. `digest`: the same for two values that differ in nothing but the order of sets, keys and fields.
    """

    outcome: Outcome
    actual: str | None = None
    expected: str | None = None
    matches: bool | None = None
    alike: bool | None = None
    error: str | None = None
    output: str = ""
    duration_ms: int = 0
    is_equal: bool | None = None
    digest: str | None = None

    @property
    def value(self) -> str | None:
        """What tells this run's value from another's."""
        return self.digest or self.actual

    def to_json(self) -> dict[str, Any]:
        """Return a plain document, safe to store: every text bounded, no NUL, no lone surrogates."""
        return {
            "outcome": str(self.outcome),
            "actual": bounded(self.actual, MOST_VALUE_CHARS),
            "expected": bounded(self.expected, MOST_VALUE_CHARS),
            "matches": self.matches,
            "alike": self.alike,
            "error": bounded(self.error, MOST_ERROR_CHARS),
            "output": bounded(self.output, MOST_OUTPUT_CHARS) or "",
            "duration_ms": self.duration_ms,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Observation:
        """Read what `to_json` wrote, or a runner's harness; texts are bounded on the way in."""
        return cls(
            outcome=Outcome(document["outcome"]),
            actual=bounded(document.get("actual"), MOST_VALUE_CHARS),
            expected=bounded(document.get("expected"), MOST_VALUE_CHARS),
            matches=document.get("matches"),
            alike=document.get("alike"),
            error=bounded(document.get("error"), MOST_ERROR_CHARS),
            output=bounded(document.get("output"), MOST_OUTPUT_CHARS) or "",
            duration_ms=int(document.get("duration_ms") or 0),
            is_equal=document.get("is_equal"),
            digest=document.get("digest"),
        )


@dataclass(frozen=True)
class Ran:
    """One run: an observation a probe, in their order. `runtime` names what ran it, `CPython 3.12 (WASI), wasmtime 50.0.1`."""

    language: Language
    runtime: str
    observations: tuple[Observation, ...]
    duration_ms: int


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL's jsonb and UTF-8 cannot hold: NUL and lone surrogates become U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")


def bounded(text: str | None, most: int) -> str | None:
    """Return `text`, storable and at most `most` characters long; what was cut ends in an ellipsis."""
    if text is None:
        return None
    kept = storable(text[: most + 1])
    return kept if len(kept) <= most else kept[: most - 1] + _CUT


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)
