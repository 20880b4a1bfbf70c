"""What workers do for runs: the one step `run.infer`, from the claim to the end that everything follows from.

A run whose answer nobody holds a part of yet may be begun again by another worker; one that streams may not, so it ends as
interrupted. No database connection is held while a model is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from shared.catalog.nodes import met_answer, met_fault
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.inference import store
from shared.inference.channel import FrameSender
from shared.inference.ending import INTERRUPTED, Ending, Endings, never_begun, timed_out, unfinished
from shared.inference.frames import StreamWriter
from shared.inference.generation import Generation, Ways, clear_input
from shared.inference.model import (
    RUN,
    RUN_TRANSITIONS,
    CancelReason,
    ErrorCode,
    Frame,
    PlannedNode,
    Run,
    RunEvent,
    RunState,
    RunStep,
)
from shared.inference.sealing import Sealer
from shared.inference.store import Locked
from shared.inference.upstreams import UpstreamPool
from shared.inference.watch import CancelWatch, Wanted
from shared.kernel.clock import Clock
from shared.kernel.errors import IntegrityFault, TransitionConflict
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.transitions import next_state
from shared.work.model import Claim, LeaseLost, StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

GIVEN_UP = "The run could not be done."
_SLICE_S = 0.25
_NOTED_EVERY_S = 5.0


@dataclass(frozen=True)
class _Done:
    """What a step's effect brings to its end: how the run ends, how many of its events its caller was sent before, who failed."""

    run: Run
    ending: Ending
    sent: int = 0
    faults: tuple[tuple[str, str], ...] = ()


class Inference:
    """Does runs. `longest_s` bounds one run's tries together."""

    def __init__(
        self,
        database: Database,
        *,
        endings: Endings,
        frame_sender: FrameSender,
        cancel_watch: CancelWatch,
        upstream_pool: UpstreamPool,
        sealer: Sealer,
        events: Events,
        work: Work,
        clock: Clock,
        longest_s: float,
    ) -> None:
        self._database = database
        self._endings = endings
        self._frame_sender = frame_sender
        self._cancel_watch = cancel_watch
        self._upstream_pool = upstream_pool
        self._sealer = sealer
        self._events = events
        self._work = work
        self._clock = clock
        self._longest_s = longest_s
        self._noted_s: dict[str, float] = {}
        """When this process last noted that a node answers."""

    def infer(self, run_id: int) -> None:
        """Generate the answer of a run and end it."""

        locked: Locked | None = None

        def begin(tx: Tx) -> None:
            nonlocal locked
            locked = self._begin(tx, run_id)

        def effect(claim: Claim) -> _Done | None:
            if locked is None:
                return None
            with self._cancel_watch.watching(run_id) as wanted:
                return self._before(locked) or self._generate(locked, claim, wanted)

        def finish(tx: Tx, done: _Done | None) -> None:
            if done is not None:
                self._end(tx, done)

        def give_up(tx: Tx, _reason: str) -> None:
            found = store.lock(tx, run_id, grace_s=self._cancel_watch.grace_s)
            if found is not None and not found.run.has_ended:
                self._end(tx, _Done(found.run, unfinished(found, ErrorCode.UNKNOWN, GIVEN_UP)))

        step = StepRef(RUN, run_id, RunStep.INFER)
        try:
            self._work.perform(step, effect=effect, finish=finish, give_up=give_up, begin=begin)
        finally:
            self._frame_sender.forget(run_id)

    # -- before anything is asked

    def _begin(self, tx: Tx, run_id: int) -> Locked | None:
        """Note that the run is worked on; None where it has ended."""
        with failpoint("run.start"):
            locked = store.lock(tx, run_id, grace_s=self._cancel_watch.grace_s)
            if locked is None:
                raise IntegrityFault("a step without its run")
            run = locked.run
            if run.has_ended:
                return None
            if run.streaming_since is None:
                event = RunEvent.STARTED if run.state is RunState.QUEUED else RunEvent.RESTARTED
                to_state = next_state(RUN_TRANSITIONS, run.state, event)
                store.start(tx, run_id, from_state=run.state, to_state=to_state)
                # who waits at a connection waits for the end
                self._events.append(tx, run.owner, event, moved=(run.state, to_state), announced=run.detached)
                run = replace(run, state=to_state)
        return replace(locked, run=run)

    def _before(self, locked: Locked) -> _Done | None:
        """Return the end of a run that is not to be generated (any more)."""
        run = locked.run
        if run.streaming_since is not None:
            stream = self._recovered(run)
            sent = len(stream.frames)
            return _Done(run, unfinished(locked, ErrorCode.INTERRUPTED, INTERRUPTED, stream=stream), sent)
        if run.cancel_reason is not None:
            return _Done(run, never_begun(locked, run.cancel_reason))
        if locked.is_deserted:
            return _Done(run, never_begun(locked, CancelReason.DISCONNECTED))
        if locked.left_ms is not None and locked.left_ms <= 0:
            return _Done(run, timed_out(locked))
        return None

    def _recovered(self, run: Run) -> StreamWriter:
        """Return what another process had sent; from now on nothing of that gets out any more."""
        return StreamWriter.recovered(run, (frame.wire for frame in self._frame_sender.take(run.id)))

    # -- while it is asked

    def _generate(self, locked: Locked, claim: Claim, wanted: Wanted) -> _Done:
        run, sent = locked.run, 0

        def check() -> None:
            self._work.check(claim)
            wanted.check()

        def pause(seconds: float) -> None:
            until_s = self._clock.monotonic() + seconds
            while (left_s := until_s - self._clock.monotonic()) > 0:
                self._work.pause(claim, min(left_s, _SLICE_S))
                wanted.check()

        def emit(wire: bytes) -> None:
            nonlocal sent
            if sent == 0:
                self._begin_streaming(run, claim, generation.node)
            sent += 1
            self._frame_sender.send(run.id, [Frame(sent, wire)])

        ways = Ways(self._upstream_pool, self._clock, self._longest_s, check, pause, emit)
        generation = Generation(locked, clear_input(locked, self._sealer.open), ways)
        ending = generation.run()
        return _Done(run, ending, sent, tuple(sorted(generation.faults.items())))

    def _begin_streaming(self, run: Run, claim: Claim, node: PlannedNode) -> None:
        """Have it known that no second answer may follow, before a part of this one leaves."""
        with self._database.transaction() as tx, failpoint("run.stream"):
            self._work.hold(tx, claim)
            if not store.begin_streaming(tx, run.id, compute_passport_id=node.passport_id):
                raise LeaseLost("the run has ended meanwhile")

    # -- the end

    def _end(self, tx: Tx, done: _Done) -> None:
        run, ending = done.run, done.ending
        try:
            self._endings.end(tx, run, ending)
        except TransitionConflict:
            log.info("run_had_ended", request_id=_told_id(run))
            return
        self._note_nodes(tx, done)
        tx.after_commit(lambda: self._follow_up(done))

    def _note_nodes(self, tx: Tx, done: _Done) -> None:
        """Count what failed; note that a node answers where that is news, or was last noted a while ago."""
        for passport_id, code in done.faults:
            met_fault(tx, passport_id, code)
            self._noted_s.pop(passport_id, None)
        node, now_s = done.ending.end.compute_passport_id, self._clock.monotonic()
        if (
            done.ending.event is RunEvent.COMPLETED
            and self._noted_s.get(node, -_NOTED_EVERY_S) <= now_s - _NOTED_EVERY_S
        ):
            met_answer(tx, node)
            self._noted_s[node] = now_s

    def _follow_up(self, done: _Done) -> None:
        """Send what is left of a stream, now that it is true, and write the log's one line on the run: never what was said."""
        run, end, stream = done.run, done.ending.end, done.ending.stream
        if stream is not None:
            rest = stream.frames[done.sent :]
            is_fault = done.ending.event is not RunEvent.COMPLETED
            last = len(stream.frames)
            frames = [
                Frame(seq, wire, is_last=seq == last, is_fault=is_fault and seq == last)
                for seq, wire in enumerate(rest, start=done.sent + 1)
            ]
            self._frame_sender.send(run.id, frames)
        log.info(
            "run_ended",
            outcome=done.ending.event,
            error_code=end.error_code,
            request_id=_told_id(run),
            trace_id=run.trace_id,
            tokens_out=end.tokens_out,
            ttft_ms=end.ttft_ms,
            total_latency_ms=end.total_latency_ms,
            used_fallback=end.used_fallback,
        )


def _told_id(run: Run) -> str | None:
    """Return the caller's own id of the request; the run's is a key to what it holds, and stays out of logs."""
    return None if run.request_id == run.run_id else run.request_id
