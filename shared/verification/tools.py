"""What a stage may use, and how it says that it cannot go on. A stage knows nothing of rows, clocks or upstreams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from shared.kernel.errors import LucidError
from shared.sandbox.model import Language, Limits, Probe, Ran

T = TypeVar("T")
_FEWEST_THREADS = 2


class FaultCode(StrEnum):
    """Why a verification failed: the pipelines' `error.code`."""

    UPSTREAM_ERROR = "upstream_error"
    INTERNAL_ERROR = "internal_error"


class StageFailed(LucidError):
    """A stage can never succeed. `message` is shown to the caller: nothing of the provider's, nothing of the code's."""

    def __init__(self, code: FaultCode, message: str) -> None:
        super().__init__(message, code=code)
        self.fault_code = code


class Asker(Protocol):
    """Asks the model. It counts tokens, time and cost into the stage."""

    def ask(
        self,
        *,
        system: str,
        user: str,
        schema: dict[str, Any],
        name: str,
        max_tokens: int,
        temperature: Decimal = Decimal(0),
        seed: int | None = None,
    ) -> dict[str, Any]:
        """Return an answer that is valid under `schema`; an unreadable one is asked for once more.

        `name`: the schema's, `verification_…`. `max_tokens` bounds one answer. Raises `StageFailed` where no readable answer
        came, `RetryLater` where the same may succeed later, and what ends a step that is wanted no more: let all of them pass.
        """
        ...


class Sandboxing(Protocol):
    """Runs code; `shared.sandbox.service.Sandboxes` is one."""

    def run(
        self,
        language: Language,
        code: str,
        probes: Sequence[Probe],
        *,
        limits: Limits | None = None,
        check: Callable[[], None] | None = None,
    ) -> Ran:
        """Run each probe against the code freshly loaded. Raises `SandboxUnavailable`, or what `check` raises."""
        ...


@dataclass(frozen=True)
class Tools:
    """What a stage works with. `check` raises when the stage is to stop: call it between long pieces of work, hand it to a sandbox.

    `check` and the sandbox may be used from several threads at once, `asker` from the stage's own alone.
    """

    asker: Asker
    sandboxes: Sandboxing
    check: Callable[[], None]

    def if_readable(self, question: Callable[[], T]) -> T | None:
        """Return the answer to a question that the stage can do without; None where it cannot be read.

        What ends the stage goes on, and so does what may succeed later. A stage that got no answer at all fails at its end.
        """
        try:
            return question()
        except StageFailed:
            self.check()
            return None


def side_by_side(runs: Sequence[Callable[[], T]]) -> list[T]:
    """Do these at once, in threads, as far as the sandbox has turns; return what each gave, in order.

    Where one raises, that is raised once all have ended: a stage that is to stop leaves no run behind.
    """
    if len(runs) < _FEWEST_THREADS:
        return [run() for run in runs]
    with ThreadPoolExecutor(len(runs) - 1, thread_name_prefix="evidence") as pool:
        others = [pool.submit(copy_context().run, run) for run in runs[1:]]
        return [runs[0](), *(other.result() for other in others)]
