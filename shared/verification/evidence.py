"""What a verdict shows: the lines of the submitted code that are concerned, found by the server, and the transcript of what ran."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.sandbox.model import Observation, Outcome, Probe
from shared.source.blanking import without_comments
from shared.source.lines import lines_of
from shared.verification.items import Claim, Json, Lines, Submitted

MOST_LINES = 20
_MOST_EVIDENCE_CHARS = 4_000
_RETURN = re.compile(r"\breturn\b|=>")
_SHOWN_CHARS = 160
_ENDED = {
    Outcome.NOT_LOADED: "the code could not be loaded",
    Outcome.BAD_PROBE: "the call does not fit the code",
    Outcome.REFUSED: "it reached for something outside of the sandbox",
    Outcome.CRASHED: "its interpreter broke down",
    Outcome.OUT_OF_MEMORY: "it ran out of memory",
    Outcome.TOO_MUCH_OUTPUT: "it gave more output than is allowed",
    Outcome.TIMED_OUT: "it did not end in time",
    Outcome.NOT_TRIED: "no time was left to try it",
}


@dataclass(frozen=True)
class Listing:
    """The submitted code by lines, with their ends, and the same without comments."""

    lines: tuple[str, ...]
    bare: tuple[str, ...]

    @classmethod
    def of(cls, submitted: Submitted) -> Listing:
        """Return the listing of what was submitted."""
        bare = without_comments(submitted.code, submitted.language)
        return cls(tuple(lines_of(submitted.code)), tuple(lines_of(bare)))

    def concerned(self, claim: Claim) -> Lines | None:
        """Return the claim's only returning line, where the function has just one; else the function's lines, at most 20."""
        if claim.lines is None:
            return None
        first, last = claim.lines
        returning = (
            [number for number in range(first, last + 1) if _RETURN.search(self.bare[number - 1])]
            if last <= len(self.bare)
            else []
        )
        if len(returning) == 1:
            return returning[0], returning[0]
        return first, min(last, first + MOST_LINES - 1)

    def quoted(self, lines: Lines | None) -> str:
        """Return these lines as they were submitted, to 4,000 characters."""
        if lines is None:
            return ""
        return "".join(self.lines[lines[0] - 1 : lines[1]]).rstrip("\r\n")[:_MOST_EVIDENCE_CHARS]


def outcome(observation: Observation) -> str:
    """Return what happened, in words that follow "the call"."""
    if observation.outcome is Outcome.RETURNED:
        return f"returned {short(observation.actual)}"
    if observation.outcome is Outcome.RAISED:
        return f"raised {short(observation.error)}"
    told = f" ({short(observation.error)})" if observation.error else ""
    return f"was not answered: {_ENDED[observation.outcome]}{told}"


def short(text: str | None) -> str:
    """Return a value as a sentence shows it."""
    shown = (text or "").replace("\n", " ")
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[: _SHOWN_CHARS - 1]}…"


def of_code(probe: Probe, observations: Sequence[Observation]) -> list[Json]:
    """Return the transcript of the code's own runs."""
    return [
        {"by": "code", "run": number, "probe": probe.to_json(), "observation": observation.to_json()}
        for number, observation in enumerate(observations, 1)
    ]


def of_round_trip(probe: Probe, observation: Observation) -> Json:
    """Return the transcript of a value that the code itself was asked to take back."""
    return {"by": "round trip", "probe": probe.to_json(), "observation": observation.to_json()}


def of_reference(number: int, code: str, observation: Observation) -> Json:
    """Return the transcript of a reference's run of the same call."""
    return {"by": "reference", "number": number, "code": code, "observation": observation.to_json()}
