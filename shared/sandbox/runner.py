"""What the sandbox asks of the part that runs one family of languages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.sandbox.model import Language, Limits, Probe, Ran


class Runner(Protocol):
    """Runs code of some languages. Holds no state between runs but what `warm` prepared."""

    languages: frozenset[Language]

    def warm(self) -> None:
        """Prepare what runs share, so that the first one is as quick as the others. Raises `SandboxUnavailable`."""

    def run(
        self,
        language: Language,
        code: str,
        probes: Sequence[Probe],
        *,
        limits: Limits,
        check: Callable[[], None],
    ) -> Ran:
        """Run each probe against the code freshly loaded; one observation a probe, in their order.

        `check` is called at least once a second while processes run, and may raise: then they are ended and the error goes on.
        Raises `SandboxUnavailable` only if the sandbox cannot start.
        """
