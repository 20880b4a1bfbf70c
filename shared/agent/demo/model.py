"""The free call: judged and done like paid work, forgotten after a day."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.kernel.owner import Owner

DEMO = "demo"


class DemoState(StrEnum):
    """Where a free call is."""

    EVALUATING = "evaluating"
    EXECUTING = "executing"
    COMPLETE = "complete"
    REJECTED = "rejected"
    FAILED = "failed"


class DemoEvent(StrEnum):
    """What happens to a free call."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    EVALUATION_FAILED = "evaluation failed"
    DONE = "done"
    WORK_FAILED = "work failed"


DEMO_TRANSITIONS = {
    (DemoState.EVALUATING, DemoEvent.ACCEPTED): DemoState.EXECUTING,
    (DemoState.EVALUATING, DemoEvent.REFUSED): DemoState.REJECTED,
    (DemoState.EVALUATING, DemoEvent.EVALUATION_FAILED): DemoState.FAILED,
    (DemoState.EXECUTING, DemoEvent.DONE): DemoState.COMPLETE,
    (DemoState.EXECUTING, DemoEvent.WORK_FAILED): DemoState.FAILED,
}

DEMO_ENDED = frozenset({DemoState.COMPLETE, DemoState.REJECTED, DemoState.FAILED})


class DemoStep(StrEnum):
    """The steps of a free call."""

    EVALUATE = "evaluate"
    EXECUTE = "execute"


@dataclass(frozen=True)
class Demo:
    """One free call. It has no address and no id that anybody outside knows."""

    id: int
    state: DemoState
    request: str
    reason: str | None
    result: str | None

    @property
    def owner(self) -> Owner:
        """The call as the owner of rows elsewhere."""
        return Owner(DEMO, self.id)
