"""The free call as its caller sees it: ask, wait, have the answer. What moves it lives in `demonstration`."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agent.admission import require_admissible
from shared.agent.demo import store
from shared.agent.demo.client import CallCounter
from shared.agent.demo.model import DEMO, DEMO_ENDED, Demo, DemoState, DemoStep
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.derive import derive
from shared.kernel.errors import DeadlinePassed, IntegrityFault, InvalidInput, Unavailable
from shared.kernel.failpoints import effect as failpoint
from shared.work.model import StepRef
from shared.work.service import Work

REFUSED = "refused"
FAILED = "demo_failed"
_DAY_S = 86_400.0
_FAILED_RETRY_S = 30
_LATE_RETRY_S = 30


@dataclass(frozen=True)
class DemoTerms:
    """How long a request may be, and how long (seconds) a web call waits for its answer."""

    max_request_chars: int
    wait_s: float


class Demos:
    """Gives work away, a little of it to each address."""

    def __init__(
        self,
        database: Database,
        *,
        terms: DemoTerms,
        counter: CallCounter,
        events: Events,
        work: Work,
        secret_key: bytes,
    ) -> None:
        self._database = database
        self._terms = terms
        self._counter = counter
        self._events = events
        self._work = work
        self._secret_key = secret_key

    def run(self, request: str, *, address: str) -> str:
        """Return the model's answer to an admissible request. What is not admissible is refused before it is counted.

        Raises `InvalidInput` (also, with the model's reason and code `refused`, where the evaluation refuses: that counts),
        `TooMany`, `Unavailable` (nobody can count, or the model failed), `DeadlinePassed`.
        """
        require_admissible(request, max_chars=self._terms.max_request_chars)
        demo = self._create(request, caller=derive(self._secret_key, "demo", address.encode()))
        ended = self._events.wait(demo.owner, look=lambda: self._ended(demo.id), deadline_s=self._terms.wait_s)
        if ended is None:
            raise DeadlinePassed("the answer did not come in time", retry_after_s=_LATE_RETRY_S)
        return _answer(ended)

    def prune(self, tx: Tx) -> None:
        """Delete what is older than a day."""
        store.prune_demos(tx)
        self._events.prune(tx, DEMO, age_s=_DAY_S)

    def _create(self, request: str, *, caller: bytes) -> Demo:
        with failpoint("demo.create"):
            mark = self._counter.count(caller)
            try:
                with self._database.transaction() as tx:
                    demo = store.insert_demo(tx, request=request)
                    self._events.append(tx, demo.owner, "created", moved=("", demo.state))
                    self._work.start(tx, StepRef(DEMO, demo.id, DemoStep.EVALUATE))
            except Unavailable:
                self._counter.give_back(caller, mark)
                raise
        return demo

    def _ended(self, demo_id: int) -> Demo | None:
        with self._database.transaction() as tx:
            demo = store.demo(tx, demo_id)
        return demo if demo is not None and demo.state in DEMO_ENDED else None


def _answer(demo: Demo) -> str:
    if demo.state is DemoState.REJECTED:
        raise InvalidInput(demo.reason or "the request is refused", field="request", code=REFUSED)
    if demo.state is DemoState.FAILED:
        raise Unavailable("the model could not finish this", retry_after_s=_FAILED_RETRY_S, code=FAILED)
    if demo.result is None:
        raise IntegrityFault("a free call is complete without a result")
    return demo.result
