"""What workers do for a free call: the same judgement and the same work as for money, without any."""

from __future__ import annotations

from shared.agent.demo import store
from shared.agent.demo.life import move
from shared.agent.demo.model import DEMO, Demo, DemoEvent, DemoState, DemoStep
from shared.agent.model_access import Answer, ModelDesk, Opinion
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.errors import IntegrityFault
from shared.work.model import Claim, StepRef
from shared.work.service import Work


class Demonstration:
    """Judges free calls and does them."""

    def __init__(
        self, database: Database, *, events: Events, work: Work, models: ModelDesk, max_output_tokens: int
    ) -> None:
        self._database = database
        self._events = events
        self._work = work
        self._models = models
        self._max_output_tokens = max_output_tokens

    def evaluate(self, demo_id: int) -> None:
        """Have the model judge the request; a refusal ends the call with the reason."""

        def effect(claim: Claim) -> Opinion:
            return self._models.judge(self._demo(demo_id, DemoState.EVALUATING).request, claim)

        def finish(tx: Tx, opinion: Opinion) -> None:
            demo = self._lock(tx, demo_id)
            if opinion.accepted:
                move(tx, self._events, demo, DemoEvent.ACCEPTED)
                self._work.follow(tx, StepRef(DEMO, demo_id, DemoStep.EXECUTE))
            else:
                move(tx, self._events, demo, DemoEvent.REFUSED, reason=opinion.reason)

        def give_up(tx: Tx, _reason: str) -> None:
            move(tx, self._events, self._lock(tx, demo_id), DemoEvent.EVALUATION_FAILED)

        self._work.perform(StepRef(DEMO, demo_id, DemoStep.EVALUATE), effect=effect, finish=finish, give_up=give_up)

    def execute(self, demo_id: int) -> None:
        """Have the model do the request."""

        def effect(claim: Claim) -> Answer:
            request = self._demo(demo_id, DemoState.EXECUTING).request
            return self._models.do(request, claim, max_tokens=self._max_output_tokens)

        def finish(tx: Tx, answer: Answer) -> None:
            move(tx, self._events, self._lock(tx, demo_id), DemoEvent.DONE, result=answer.text)

        def give_up(tx: Tx, _reason: str) -> None:
            move(tx, self._events, self._lock(tx, demo_id), DemoEvent.WORK_FAILED)

        self._work.perform(StepRef(DEMO, demo_id, DemoStep.EXECUTE), effect=effect, finish=finish, give_up=give_up)

    def _demo(self, demo_id: int, state: DemoState) -> Demo:
        with self._database.transaction() as tx:
            demo = store.demo(tx, demo_id)
        if demo is None or demo.state is not state:
            raise IntegrityFault(f"a free call without its row, or not {state}")
        return demo

    def _lock(self, tx: Tx, demo_id: int) -> Demo:
        demo = store.lock_demo(tx, demo_id)
        if demo is None:
            raise IntegrityFault("a step without its free call")
        return demo
