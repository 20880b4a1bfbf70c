"""Work: start a step, do it exactly once, give it up. Every effect of the product runs through `Work.perform`.

claim (committed) → effect, outside any transaction → finish (one transaction under the fence). A process may die anywhere:
before the claim the message or the rescuer rings again; during the effect the lease lapses and the next owner does it again
under a higher fence; after the finish there is nothing left to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina
import structlog

from config.logging import correlated, correlation_id
from config.schedule import Tick
from shared.db.service import Database, Tx
from shared.kernel.errors import Unavailable
from shared.kernel.failpoints import effect as failpoint
from shared.work import store
from shared.work.leases import LeaseKeeper
from shared.work.model import (
    STRANDED,
    Claim,
    LeaseLost,
    Message,
    Outcome,
    RetryLater,
    ShuttingDown,
    StepFailed,
    StepRef,
    StepState,
)

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

POISONED = "the work could not be finished"
CANARY_MAX_AGE_S = 60
LONGEST_RETRY_S = 60.0
OUTAGE_RETRY_S = 2.0
OUTAGE_PATIENCE_S = 600.0
LONGEST_DELAY_S = 600.0
"""Nothing is put off for longer; what seems to be was stamped by a clock that was set back since."""


@dataclass(frozen=True)
class WorkLimits:
    """How long a lease lasts, when a stuck step is rung again (both seconds), and how often a step is tried."""

    lease_s: float
    rescue_after_s: float
    max_attempts: int


class Work:
    """The step machinery. `nudge` wakes the relay after a commit; losing it costs one poll."""

    def __init__(self, database: Database, limits: WorkLimits, *, nudge: Callable[[], None]) -> None:
        self._database = database
        self._limits = limits
        self._nudge = nudge
        self._leases = LeaseKeeper(self._renew, lease_s=limits.lease_s)
        self.stopping = threading.Event()

    # -- inside somebody's transaction

    def start(self, tx: Tx, ref: StepRef) -> bool:
        """Queue the first step of a chain and ring it after the commit. False where it was queued before: nothing happens."""
        if not store.enqueue(tx, ref, cid=correlation_id()):
            return False
        self.ring(tx, ref)
        return True

    def follow(self, tx: Tx, ref: StepRef) -> None:
        """Queue the next step of the chain that is running: its own next link delivers it, the rescuer if that is lost."""
        store.enqueue(tx, ref, cid=correlation_id())

    def restart(self, tx: Tx, ref: StepRef) -> bool:
        """Queue a step that was given up, or that waits, as if it were new, and ring it. False where one is at it or it is done."""
        if not store.restart(tx, ref, cid=correlation_id()):
            return False
        self.ring(tx, ref)
        return True

    def ring(self, tx: Tx, ref: StepRef, *, delay_s: float = 0) -> None:
        """Write an outbox row for `ref` without queueing a step, due in `delay_s` seconds (at most `LONGEST_DELAY_S`)."""
        store.send(tx, ref, cid=correlation_id(), delay_s=min(delay_s, LONGEST_DELAY_S))
        tx.after_commit(self._nudge)

    def ring_soon(self, tx: Tx, ref: StepRef, *, within_s: float) -> None:
        """Have `ref` rung once for all who ask so within the same `within_s` seconds, without a nudge.

        A ring is lost where `tx` takes longer than half of them to commit: only for what a tick does besides.
        """
        store.send_soon(tx, ref, cid=correlation_id(), within_s=within_s)

    # -- in a worker

    def perform(
        self,
        ref: StepRef,
        *,
        effect: Callable[[Claim], Result],
        finish: Callable[[Tx, Result], None],
        give_up: Callable[[Tx, str], None] | None,
        begin: Callable[[Tx], None] = lambda _tx: None,
    ) -> Outcome:
        """Do one step: claim, `effect` outside any transaction, `finish` in one with the step's own end.

        `begin` notes on the owner's row that the step is claimed, in the claim's own transaction, so that it costs none.
        `effect` may raise `RetryLater`, `StepFailed`, `ShuttingDown` or `LeaseLost`; anything else counts as one failed
        attempt. `give_up` gets the reason, for people, in the transaction that ends the step; None: the step is tried for
        ever. Never raises for what a retry answers: the row says what happened.
        """
        with self._database.transaction() as tx, failpoint("step.claim"):
            claim = store.claim(tx, ref, lease_s=self._limits.lease_s)
            if claim is not None:
                with correlated(claim.cid):  # the message may be another request's
                    begin(tx)
        if claim is None:
            return Outcome.NOT_MINE
        with self._leases.keeping(claim), correlated(claim.cid):
            if give_up is not None and claim.attempts > self._limits.max_attempts:
                return self._end(claim, StepState.QUARANTINED, give_up, POISONED)
            return self._try(claim, effect, finish=finish, give_up=give_up)

    def check(self, claim: Claim) -> None:
        """Stop a long effect in time. Raises `LeaseLost` or `ShuttingDown`; call it between chunks."""
        if claim.lost.is_set():
            raise LeaseLost("the lease is gone")
        if self.stopping.is_set():
            raise ShuttingDown("this process is stopping")

    def hold(self, tx: Tx, claim: Claim) -> None:
        """Renew the claim in `tx` and hold the step's row until it ends: what `tx` writes, only the step's owner writes.

        Lock order: the step first, then its owner. Raises `LeaseLost`.
        """
        if not store.renew(tx, claim, lease_s=self._limits.lease_s):
            claim.lost.set()
            raise LeaseLost("the lease is gone")

    def pause(self, claim: Claim, seconds: float) -> None:
        """Let `seconds` pass within a long effect, fewer where this process is told to stop. Raises as `check` does."""
        self.stopping.wait(seconds)
        self.check(claim)

    # -- ticks and the relay

    def tick(
        self,
        tick: Tick,
        action: Callable[[Tx], None],
        *,
        on_set_back: Callable[[Tx], None] = lambda _tx: None,
    ) -> bool:
        """Do `action` in the transaction that moves the tick's row; False where another process has this turn.

        Before it `on_set_back`, where the database's clock shows less than at the last turn.
        """
        with self._database.transaction() as tx:
            set_back_s = store.take_turn(tx, tick.name, period_s=tick.period_s * 0.9)
            if set_back_s is None:
                return False
            with failpoint("tick.turn"):
                if set_back_s > 0:
                    log.warning("clock_set_back", tick=tick.name, set_back_s=round(set_back_s, 3))
                    on_set_back(tx)
                action(tx)
        return True

    def follow_clock(self, tx: Tx) -> None:
        """Have all that is put off be due now, after the database's clock was set back: it would wait for as long again.

        What was put off by the new clock already comes too early, which costs a try.
        """
        store.recall(tx, beyond_s=0, lease_s=self._limits.lease_s)

    def rescue(self, tx: Tx) -> int:
        """Ring again every step that is queued or whose owner is dead, and that nobody has rung lately; return how many.

        First comes what a clock has put off that ran ahead for a moment between two turns of any tick.
        """
        store.recall(tx, beyond_s=LONGEST_DELAY_S, lease_s=self._limits.lease_s)
        count = store.rescue(tx, rescue_after_s=self._limits.rescue_after_s)
        if count:
            log.info("steps_rescued", count=count)
            tx.after_commit(self._nudge)
        return count

    def relay(self, publish: Callable[[Message], None], *, batch: int = 100) -> int:
        """Publish the due outbox rows and delete them; return how many. A crash before the commit publishes again."""
        with self._database.transaction() as tx:
            messages = store.take_due(tx, batch=batch)
            for message in messages:
                with failpoint("outbox.publish"):
                    publish(message)
        return len(messages)

    def prune(self, tx: Tx) -> int:
        """Delete the ended steps of past sweeps and free calls."""
        return store.prune_steps(tx)

    def sing(self, queue: str) -> None:
        """Record that `queue` is being consumed."""
        with self._database.transaction() as tx:
            store.sing(tx, queue)

    def silent_queues(self, queues: list[str]) -> list[str]:
        """Return the queues that nobody has consumed for a minute."""
        with self._database.transaction() as tx:
            return store.silent_queues(tx, queues, max_age_s=CANARY_MAX_AGE_S)

    # -- the ends of an attempt

    def _try(
        self,
        claim: Claim,
        effect: Callable[[Claim], Result],
        *,
        finish: Callable[[Tx, Result], None],
        give_up: Callable[[Tx, str], None] | None,
    ) -> Outcome:
        try:
            return self._attempt(claim, effect, finish)
        except StepFailed as error:
            if give_up is None:
                return self._retry(claim, give_up, delay_s=LONGEST_RETRY_S, fault=error.message)
            return self._end(claim, StepState.FAILED, give_up, error.message)
        except ShuttingDown:
            return self._put_back(claim, delay_s=0, forgiven=True, fault="shutdown", outcome=Outcome.RELEASED)
        except LeaseLost:
            return Outcome.LOST
        except RetryLater as error:
            if not error.counts:
                return self._put_back(claim, delay_s=error.delay_s, forgiven=True, fault=error.message)
            return self._retry(claim, give_up, delay_s=error.delay_s, fault=error.message)
        except Unavailable as error:
            if claim.age_s < OUTAGE_PATIENCE_S:  # a part of ours was away; that is not the step's fault
                return self._put_back(claim, delay_s=OUTAGE_RETRY_S, forgiven=True, fault=error.message)
            return self._retry(claim, give_up, delay_s=OUTAGE_RETRY_S, fault=error.message)
        except Exception as error:
            log.exception(
                "step_raised", step=claim.ref.name, owner_kind=claim.ref.owner_kind, error=type(error).__name__
            )
            delay_s = min(LONGEST_RETRY_S, 2.0 ** min(claim.attempts, 6))
            return self._retry(claim, give_up, delay_s=delay_s, fault=type(error).__name__)

    def _attempt(
        self, claim: Claim, effect: Callable[[Claim], Result], finish: Callable[[Tx, Result], None]
    ) -> Outcome:
        if self.stopping.is_set():
            raise ShuttingDown("this process is stopping")
        result = effect(claim)
        if claim.lost.is_set():  # not `stopping`: what is done is worth storing
            raise LeaseLost("the lease is gone")
        return self._finish(claim, lambda tx: finish(tx, result))

    def _finish(self, claim: Claim, finish: Callable[[Tx], None]) -> Outcome:
        def end(tx: Tx) -> Outcome:
            if not store.end(tx, claim, StepState.DONE):
                return Outcome.LOST
            finish(tx)
            return Outcome.APPLIED

        return self._insist(end)

    def _end(self, claim: Claim, state: StepState, give_up: Callable[[Tx, str], None], reason: str) -> Outcome:
        def end(tx: Tx) -> Outcome:
            if not store.end(tx, claim, state, fault=reason):
                return Outcome.LOST
            give_up(tx, reason)
            return Outcome.QUARANTINED if state is StepState.QUARANTINED else Outcome.FAILED

        log.warning("step_given_up", step=claim.ref.name, owner_kind=claim.ref.owner_kind, state=state, reason=reason)
        try:
            return self._insist(end)
        except Unavailable:
            raise
        except Exception as error:
            if state is not StepState.QUARANTINED:
                raise  # the lease lapses, and the step comes back until its attempts are spent
            log.exception("give_up_raised", step=claim.ref.name, owner_kind=claim.ref.owner_kind)
            fault = f"{reason}; {STRANDED} {type(error).__name__}"
            self._insist(lambda tx: self._isolate(tx, claim, fault))
            return Outcome.QUARANTINED

    def _isolate(self, tx: Tx, claim: Claim, fault: str) -> Outcome:
        """Quarantine a step whose owner cannot even be given up: it stops coming back, and an operator sees it."""
        store.end(tx, claim, StepState.QUARANTINED, fault=fault)
        return Outcome.QUARANTINED

    def _retry(self, claim: Claim, give_up: Callable[[Tx, str], None] | None, *, delay_s: float, fault: str) -> Outcome:
        if give_up is not None and claim.attempts >= self._limits.max_attempts:
            return self._end(claim, StepState.FAILED, give_up, fault)
        return self._put_back(claim, delay_s=delay_s, forgiven=False, fault=fault)

    def _put_back(
        self, claim: Claim, *, delay_s: float, forgiven: bool, fault: str, outcome: Outcome = Outcome.RETRYING
    ) -> Outcome:
        delay_s = min(delay_s, LONGEST_DELAY_S)

        def end(tx: Tx) -> Outcome:
            if not store.put_back(tx, claim, delay_s=delay_s, forgiven=forgiven, fault=fault):
                return Outcome.LOST
            self.ring(tx, claim.ref, delay_s=delay_s)
            return outcome

        return self._insist(end)

    def _insist(self, end: Callable[[Tx], Outcome]) -> Outcome:
        """Store how an attempt ended, through a short outage of the database: an effect that cost money should not be done again.

        Running `end` twice is safe after an ambiguous commit: the fence is spent, the second run finds itself LOST.
        """
        for attempt in stamina.retry_context(on=Unavailable, attempts=6, wait_initial=0.2, wait_max=5.0, timeout=30.0):
            with attempt, self._database.transaction() as tx, failpoint("step.finish"):
                return end(tx)
        raise AssertionError("retry_context returns or raises")

    def _renew(self, claim: Claim) -> bool:
        with self._database.transaction() as tx:
            return store.renew(tx, claim, lease_s=self._limits.lease_s)
