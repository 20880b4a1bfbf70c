"""What no pipeline sees: whether code passes its hidden tests, and whether what a claim expected is what correct code gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.sandbox.model import Language, Limits, Probe
from shared.verification.tools import Sandboxing

_LIMITS = Limits(wall_s=8.0, run_s=60.0)


@dataclass(frozen=True)
class Score:
    """How many hidden tests a program passes."""

    passed: int
    of: int

    @property
    def is_full(self) -> bool:
        """True if it passes all of them."""
        return self.passed == self.of


class Truth:
    """Runs code where the pipelines run it, too."""

    def __init__(self, sandboxes: Sandboxing) -> None:
        self._sandboxes = sandboxes

    def score(self, language: Language, code: str, tests: Sequence[Probe]) -> Score:
        """Return how many of the hidden tests the code passes; strictly, types included."""
        return Score(sum(self._held(language, code, tests)), len(tests))

    def right(self, language: Language, correct: str, probes: Sequence[Probe | None]) -> list[bool]:
        """Tell of each claim's probe whether the correct program gives what the claim expected. A claim without one is not right."""
        run = [probe for probe in probes if probe is not None]
        held = iter(self._held(language, correct, run))
        return [probe is not None and next(held) for probe in probes]

    def _held(self, language: Language, code: str, probes: Sequence[Probe]) -> list[bool]:
        if not probes:
            return []
        observations = self._sandboxes.run(language, code, probes, limits=_LIMITS).observations
        return [observation.matches is True for observation in observations]
