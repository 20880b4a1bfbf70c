"""Turn what deno's harness answered about a probe into an observation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.sandbox.deno_values import same, written
from shared.sandbox.model import ENDED_ITSELF, Observation, Outcome, Probe

_MODULE_URL = re.compile(r"data:(?:application|text)/[a-z]+;charset=utf-8;base64,[A-Za-z0-9+/=.]*")
_PLACE = re.compile(r"code(:\d+:\d+)")
_LINE = re.compile(r":(\d+):\d+\)?$")
_BREAKS = re.compile("\r\n|[\n\r\u2028\u2029]")
_ABSENT = re.compile(r" is not (defined|a function|a constructor)$")
_REFUSED = re.compile(
    r"Requires (read|write|net|env|sys|run|ffi|import|all)\b|requires unscoped --allow|npm specifiers were requested"
    r"|--no-remote|--no-npm|cannot-be-a-base base|Relative import path|not a dependency|Module not found"
    r"|Unsupported scheme|Unknown \"?node:|Failed to spawn|Requests to port \d+ are blocked|\bEPERM\b"
    r"|Failed to create cache storage"
)
_NOT_CAPABLE = "NotCapable"
_RUNTIMES_FRAME = re.compile(r"async |(.* )?\(?(ext|node):")
_NATIVE_REFUSAL = "too many attached databases - max 0"
_LOADER_S_PLACE = "\n    at data:"
_NO_REACT = "React is not defined"
_NO_MEMORY = re.compile(r"Array buffer allocation failed|could not allocate memory|Out of memory", re.IGNORECASE)


def observed(
    probe: Probe, code: str, answer: Mapping[str, Any] | None, wanted: Mapping[str, Any] | None, output: str
) -> Observation:
    """Return what a probe gave. `answer` and `wanted`: what the harness says of the call and of the expected value."""
    if wanted is not None and wanted["kind"] != "returned":
        return Observation(Outcome.BAD_PROBE, error=f"expected: {_said(wanted)}")
    expected = None if wanted is None else wanted["value"]
    if answer is None:
        return Observation(Outcome.CRASHED, error="the sandbox gave no answer", output=output)
    outcome = _outcome(answer, code)
    actual = answer.get("value") if outcome is Outcome.RETURNED else None
    return Observation(
        outcome,
        actual=None if actual is None else written(actual),
        expected=None if expected is None else written(expected),
        matches=_judged(probe, outcome, answer, expected, lenient=False),
        alike=_judged(probe, outcome, answer, expected, lenient=True),
        error=None if outcome is Outcome.RETURNED else _said(answer),
        output=output,
        duration_ms=round(answer.get("ms", 0)),
    )


def _outcome(answer: Mapping[str, Any], code: str) -> Outcome:
    kind = answer["kind"]
    if kind == "returned":
        return Outcome.RETURNED
    if kind == "misread":
        return Outcome.BAD_PROBE
    message = answer.get("message", "")
    names = set(answer.get("names", ()))
    if _is_refusal(answer, names, message):
        return Outcome.REFUSED
    if _NO_MEMORY.search(message) and (_is_runtimes_own(answer) or "(<anonymous>)" in answer.get("frame", "")):
        return Outcome.OUT_OF_MEMORY
    if kind in ("lost", "left"):
        return Outcome.CRASHED
    if kind == "unloaded":
        return Outcome.NOT_LOADED
    if _names_what_is_absent(names, message, answer.get("frame", ""), code):
        return Outcome.BAD_PROBE
    return Outcome.RAISED


def _is_refusal(answer: Mapping[str, Any], names: set[str], message: str) -> bool:
    """Say whether the sandbox said no. An error that the code makes itself is its own, whatever it is called and says."""
    if _NOT_CAPABLE in names or message == _NATIVE_REFUSAL:
        return True
    if answer.get("hasElements") and message == _NO_REACT:
        return True  # what writes elements is not here
    return _is_runtimes_own(answer) and ("PermissionDenied" in names or _REFUSED.search(message) is not None)


def _is_runtimes_own(answer: Mapping[str, Any]) -> bool:
    """Say whether deno made the error: in its own files, in its loader, or as the end of a Worker."""
    if answer["kind"] == "lost" or _LOADER_S_PLACE in answer.get("message", ""):
        return True
    return _RUNTIMES_FRAME.match(answer.get("frame", "")) is not None


def _names_what_is_absent(names: set[str], message: str, frame: str, code: str) -> bool:
    """Say whether the probe's own text, which follows the code's last line, names what is not there."""
    if not names & {"ReferenceError", "TypeError"} or not _ABSENT.search(message):
        return False
    line = _LINE.search(frame)
    return line is not None and "base64," in frame and int(line[1]) > len(_BREAKS.findall(code)) + 1


def _is_named(raises: str, answer: Mapping[str, Any]) -> bool:
    """Say whether what was thrown has that name, or is of that class or one derived from it; `*` is anything thrown."""
    return raises.strip() in ("*", *answer.get("names", ()))


def _judged(probe: Probe, outcome: Outcome, answer: Mapping[str, Any], expected: Any, *, lenient: bool) -> bool | None:
    if outcome not in (Outcome.RETURNED, Outcome.RAISED):
        return None
    if probe.raises is not None:
        return outcome is Outcome.RAISED and _is_named(probe.raises, answer)
    if expected is None:
        return None
    return same(answer["value"], expected, lenient=lenient) if outcome is Outcome.RETURNED else False


def _said(answer: Mapping[str, Any]) -> str:
    if answer["kind"] == "left":
        return f"{ENDED_ITSELF}: {answer['how']}"
    if "thrown" in answer:
        return f"thrown: {written(answer['thrown'])}"
    message = _MODULE_URL.sub("code", answer.get("message", ""))
    name = next(iter(answer.get("names", ())), "")
    if not message.startswith("SyntaxError: "):
        message = message.partition("\n    at ")[0]
        return f"{name}: {message}" if name else message
    place = _PLACE.search(message)
    return message.partition("\n")[0] + (f" at {place[1][1:]}" if place else "")
