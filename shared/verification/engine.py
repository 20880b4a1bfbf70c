"""What workers do for verifications: each stage is a step, from its claim to the transaction that stores what it gave.

No database connection is held while a model is asked or code runs. A stage that is done is not done again; one whose process died
is, from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from shared.access.model import Mode
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.kernel.clock import Clock
from shared.kernel.errors import LucidError, Unavailable
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.transitions import next_state
from shared.sandbox.model import SandboxUnavailable
from shared.verification import stages, store
from shared.verification.asking import ModelApi, StageAsker
from shared.verification.ending import VerificationEndings
from shared.verification.items import Json
from shared.verification.model import (
    VERIFICATION_TRANSITIONS,
    Pipeline,
    Stage,
    StageState,
    Verification,
    VerificationEvent,
    VerificationState,
)
from shared.verification.stages import Given
from shared.verification.store import OpenAttempt, Spent
from shared.verification.tools import FaultCode, Sandboxing, StageFailed, Tools
from shared.verification.upstreams import Prices
from shared.work.model import Claim, LeaseLost, RetryLater, ShuttingDown, StepFailed, StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

OUT_OF_TIME = "The verification did not end in time."
GIVEN_UP = "The verification could not be done."
OVER = "the verification ended meanwhile"
_LOOK_EVERY_S = 0.3
_LOOK_AGAIN_S = 5.0
"""How long a database that did not answer is left alone: each look at a dead one takes seconds, and the model waits."""
_SANDBOX_RETRY_S = 30.0


class _Cancelled(LucidError):
    """Its caller gave the verification up."""


@dataclass(frozen=True)
class _Begun:
    """An attempt that was begun: of which verification, from what, until when (monotonic seconds)."""

    verification: Verification
    given: Given = field(repr=False)
    attempt: OpenAttempt
    ends_s: float


@dataclass(frozen=True)
class _Done:
    """What a step's effect brings to its end. `output`: None where the verification was cancelled meanwhile."""

    begun: _Begun
    spent: Spent
    output: Json | None = field(default=None, repr=False)


class VerificationEngine:
    """Does verifications, stage by stage. `model_apis`: what a verification's model is asked through, by mode."""

    def __init__(
        self,
        database: Database,
        *,
        verification_endings: VerificationEndings,
        model_apis: Mapping[Mode, ModelApi],
        prices: Prices,
        sandboxes: Sandboxing,
        events: Events,
        work: Work,
        clock: Clock,
    ) -> None:
        self._database = database
        self._verification_endings = verification_endings
        self._model_apis = dict(model_apis)
        self._prices = prices
        self._sandboxes = sandboxes
        self._events = events
        self._work = work
        self._clock = clock

    def extract(self, row_id: int) -> None:
        """Find claims in submitted code."""
        self._do(StepRef(Pipeline.FORWARD, row_id, Stage.EXTRACT), Stage.EXTRACT)

    def verify_claims(self, row_id: int) -> None:
        """Hold submitted code against its claims."""
        self._do(StepRef(Pipeline.FORWARD, row_id, Stage.VERIFY), Stage.VERIFY)

    def remediate(self, row_id: int) -> None:
        """Say what to do about the claims that failed."""
        self._do(StepRef(Pipeline.FORWARD, row_id, Stage.REMEDIATE), Stage.REMEDIATE)

    def specify(self, row_id: int) -> None:
        """Write the specifications of a task."""
        self._do(StepRef(Pipeline.REVERSE, row_id, Stage.SPECIFY), Stage.SPECIFY)

    def constrain(self, row_id: int) -> None:
        """Derive the constraints of a task."""
        self._do(StepRef(Pipeline.REVERSE, row_id, Stage.CONSTRAIN), Stage.CONSTRAIN)

    def generate(self, row_id: int) -> None:
        """Generate code for a task."""
        self._do(StepRef(Pipeline.REVERSE, row_id, Stage.GENERATE), Stage.GENERATE)

    def verify_generated(self, row_id: int) -> None:
        """Hold generated code against its specifications."""
        self._do(StepRef(Pipeline.REVERSE, row_id, Stage.VERIFY), Stage.VERIFY)

    def repair(self, row_id: int) -> None:
        """Try to mend generated code where it falls short."""
        self._do(StepRef(Pipeline.REVERSE, row_id, Stage.REPAIR), Stage.REPAIR)

    def _do(self, step: StepRef, stage: Stage) -> None:
        """Do one stage of one verification, if it is that one's turn."""
        begun: _Begun | None = None
        fault = (FaultCode.INTERNAL_ERROR, GIVEN_UP)

        def begin(tx: Tx) -> None:
            nonlocal begun
            begun = self._begin(tx, step.owner_id, stage)

        def effect(claim: Claim) -> _Done | None:
            nonlocal fault
            if begun is None:
                return None
            try:
                return self._attempt(begun, stage, claim)
            except StageFailed as error:
                fault = (error.fault_code, error.message)
                raise StepFailed(error.message) from error
            except RetryLater as error:  # where no attempt is left
                fault = (FaultCode.UPSTREAM_ERROR, error.message)
                raise
            except SandboxUnavailable as error:  # a try, unlike other outages: each has the model asked anew
                fault = (FaultCode.INTERNAL_ERROR, GIVEN_UP)
                raise RetryLater(error.message, delay_s=_SANDBOX_RETRY_S) from error

        def finish(tx: Tx, done: _Done | None) -> None:
            self._finish(tx, step.owner_id, stage, done)

        def give_up(tx: Tx, _reason: str) -> None:
            if begun is not None:
                self._give_up(tx, begun, fault)

        self._work.perform(step, effect=effect, finish=finish, give_up=give_up, begin=begin)

    # -- the beginning

    def _begin(self, tx: Tx, row_id: int, stage: Stage) -> _Begun | None:
        """Begin an attempt at a stage; None where it is not that stage's turn (any more)."""
        with failpoint("verification.start"):
            locked = store.lock(tx, row_id)
            verification = locked.verification
            if verification.has_ended or verification.stage is not stage:
                return None
            if verification.state is VerificationState.QUEUED:
                verification = self._start(tx, verification)
            given = _given(tx, verification)
            attempt = store.open_attempt(tx, row_id, stage, input_hash=given.digest(stage))
            told = {"stage": stage.value, "attempt": attempt.number}
            self._events.append(tx, verification.owner, "stage_started", body=told)
        return _Begun(verification, given, attempt, self._clock.monotonic() + locked.left_s)

    def _start(self, tx: Tx, verification: Verification) -> Verification:
        event, state = VerificationEvent.STARTED, verification.state
        to_state = next_state(VERIFICATION_TRANSITIONS, state, event)
        store.move(tx, verification.id, from_state=state, to_state=to_state)
        self._events.append(tx, verification.owner, event, moved=(state, to_state))
        return replace(verification, state=to_state)

    # -- while it is done

    def _attempt(self, begun: _Begun, stage: Stage, claim: Claim) -> _Done:
        """Do the stage; however the attempt ends without a result, its row says so and what it took."""
        wanted = self._wanted(begun, claim)
        asker = StageAsker(
            self._model_apis[Mode(begun.verification.mode)],
            model=begun.verification.model,
            prices=self._prices,
            check=wanted,
            left_s=lambda: begun.ends_s - self._clock.monotonic(),
        )
        try:
            wanted()
            output = stages.perform(stage, begun.given, Tools(asker, self._sandboxes, wanted))
            asker.require_answered()
            return _Done(begun, asker.spent, output)
        except _Cancelled:
            return _Done(begun, asker.spent)
        except (ShuttingDown, LeaseLost):
            self._note(begun, StageState.INTERRUPTED, asker.spent, None)
            raise
        except LucidError as error:
            self._note(begun, StageState.FAILED, asker.spent, error.message)
            raise
        except Exception as error:
            self._note(begun, StageState.FAILED, asker.spent, type(error).__name__)
            raise

    def _wanted(self, begun: _Begun, claim: Claim) -> Callable[[], None]:
        """Return what raises once the stage is to stop: a few times a second it looks at the row."""
        row_id, looks_s = begun.verification.id, self._clock.monotonic()

        def check() -> None:
            nonlocal looks_s
            self._work.check(claim)
            now_s = self._clock.monotonic()
            is_over = now_s >= begun.ends_s
            if is_over or now_s >= looks_s:
                pause_s = _LOOK_EVERY_S if self._require_wanted(row_id) else _LOOK_AGAIN_S
                looks_s = self._clock.monotonic() + pause_s
            if is_over:
                raise StageFailed(FaultCode.INTERNAL_ERROR, OUT_OF_TIME)

        return check

    def _require_wanted(self, row_id: int) -> bool:
        """Raise where the verification has ended, or is to be cancelled; False where the database does not say."""
        try:
            with self._database.transaction() as tx:
                found = store.verification(tx, row_id)
        except Unavailable as error:  # the work goes on; what it gives waits for the database
            log.warning("verification_not_looked_at", error=type(error).__name__)
            return False
        if found.has_ended:
            raise StepFailed(OVER)
        if found.is_cancel_asked:
            raise _Cancelled(OVER)
        return True

    def _note(self, begun: _Begun, state: StageState, spent: Spent, fault: str | None) -> None:
        """End an attempt that gave nothing. Where that cannot be stored, whoever comes next ends it, without its figures."""
        try:
            with self._database.transaction() as tx, failpoint("verification.note"):
                store.close_attempt(tx, begun.attempt, state, spent, fault=fault)
        except Unavailable as error:
            log.warning("stage_attempt_not_noted", error=type(error).__name__)

    # -- the end

    def _finish(self, tx: Tx, row_id: int, stage: Stage, done: _Done | None) -> None:
        verification = store.lock(tx, row_id).verification
        if verification.state is VerificationState.FAILED and verification.stage is stage:
            raise StepFailed(OVER)  # a step that is done could not be done again when it is resumed
        if done is None or verification.has_ended or verification.stage is not stage:
            return
        if done.output is None:
            store.close_attempt(tx, done.begun.attempt, StageState.ABANDONED, done.spent)
            self._verification_endings.cancel(tx, verification)
            return
        store.close_attempt(tx, done.begun.attempt, StageState.DONE, done.spent, output=done.output)
        told = {"stage": stage.value, "attempt": done.begun.attempt.number, **stages.counts_of(done.output)}
        self._events.append(tx, verification.owner, "stage_done", body=told)
        self._go_on(tx, verification)

    def _go_on(self, tx: Tx, verification: Verification) -> None:
        """Queue the next stage, or end the verification behind the last."""
        following = verification.stages[verification.stages.index(verification.stage) + 1 :]
        if verification.is_cancel_asked:
            self._verification_endings.cancel(tx, verification)
        elif not following:
            self._verification_endings.complete(tx, verification)
        else:
            store.advance(tx, verification.id, from_stage=verification.stage, to_stage=following[0])
            self._work.follow(tx, StepRef(verification.pipeline, verification.id, following[0]))

    def _give_up(self, tx: Tx, begun: _Begun, fault: tuple[FaultCode, str]) -> None:
        verification = store.lock(tx, begun.verification.id).verification
        if verification.has_ended or verification.round != begun.verification.round:
            return
        if verification.is_cancel_asked:  # its caller wanted no answer any more: that there is none is no failure
            self._verification_endings.cancel(tx, verification)
            return
        self._verification_endings.fail(tx, verification, *fault)
        log.warning(
            "verification_failed", pipeline=verification.pipeline, stage=verification.stage, error_code=fault[0]
        )


def _given(tx: Tx, verification: Verification) -> Given:
    subject, context = store.submission(tx, verification.id)
    return Given(
        verification.pipeline,
        subject or "",
        verification.language,
        context,
        store.outputs(tx, verification.id),
    )
