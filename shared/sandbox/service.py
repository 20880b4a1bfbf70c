"""Run submitted code: one entrance for every language, and a bound on how much runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import BoundedSemaphore

from shared.sandbox.deno import DenoRunner
from shared.sandbox.model import Language, Limits, Probe, Ran
from shared.sandbox.python import PythonRunner
from shared.sandbox.runner import Runner

_LOOK_EVERY_S = 0.5


class Sandboxes:
    """Runs code where it can do no harm. Synchronous and safe among threads; every run is processes of its own, ended with it.

    `cache_dir`: where compiled interpreters are kept, made for this user alone. `most_at_once`: runs of this process at one time; the
    others wait their turn.
    """

    def __init__(self, *, cache_dir: Path, most_at_once: int = 2) -> None:
        runners: tuple[Runner, ...] = (PythonRunner(cache_dir), DenoRunner())
        self._runners = {language: runner for runner in runners for language in runner.languages}
        self._turns = BoundedSemaphore(most_at_once)

    def warm(self) -> None:
        """Prepare every runner, so that the first run is as quick as the others. Raises `SandboxUnavailable`."""
        for runner in {id(runner): runner for runner in self._runners.values()}.values():
            runner.warm()

    def run(
        self,
        language: Language,
        code: str,
        probes: Sequence[Probe],
        *,
        limits: Limits | None = None,
        check: Callable[[], None] | None = None,
    ) -> Ran:
        """Run each probe against the code freshly loaded; one observation a probe, in their order.

        A probe that times out or kills its interpreter does not take the others' results with it. `check` is called at least once a
        second, while waiting as well; what it raises ends the run and goes on. Raises `SandboxUnavailable` only if the sandbox itself
        cannot start: a fault of the service.
        """
        looked = check or _unchecked
        self._wait_for_turn(looked)
        try:
            return self._runners[language].run(language, code, probes, limits=limits or Limits(), check=looked)
        finally:
            self._turns.release()

    def _wait_for_turn(self, check: Callable[[], None]) -> None:
        while not self._turns.acquire(timeout=_LOOK_EVERY_S):
            check()


def _unchecked() -> None:
    """Nothing ends the run early."""
