"""Runs as the doors see them: accepted, awaited, read, cancelled. What is done for them is done by workers (`engine.py`)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from shared.access.model import Principal
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.inference import store
from shared.inference.audience import Audience
from shared.inference.ending import Endings, never_begun, timed_out
from shared.inference.model import (
    MOST_LISTED,
    RUN,
    RUN_ENDED,
    RUN_PREFIX,
    Ask,
    CancelReason,
    Frame,
    Moved,
    Run,
    RunState,
    RunStep,
    RunView,
)
from shared.inference.planning import Planned, Planner
from shared.inference.sealing import Sealer
from shared.kernel.errors import IntegrityFault, NotFound
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids, is_public
from shared.receipts.model import Committed
from shared.receipts.service import Receipts
from shared.work.apart import each_apart
from shared.work.model import StepRef
from shared.work.service import Work

NO_SUCH = "no such run"
MOST_FORGOTTEN = 20_000
"""So many runs an hour at most, lest one transaction take too long."""
OVERDUE_S = 0.5
"""How long past its deadline a run is left to the worker that may just be ending it."""


class Runs:
    """The front desk of runs."""

    def __init__(
        self,
        database: Database,
        *,
        planner: Planner,
        sealer: Sealer,
        endings: Endings,
        audience: Audience,
        receipts: Receipts,
        events: Events,
        work: Work,
        ids: Ids,
    ) -> None:
        self._database = database
        self._planner = planner
        self._sealer = sealer
        self._endings = endings
        self._audience = audience
        self._receipts = receipts
        self._events = events
        self._work = work
        self._ids = ids

    def create(self, ask: Ask, *, principal: Principal, body: bytes, claim: KeyClaim | None = None) -> Run:
        """Accept a run. `body`: the exact bytes of the request, which its receipt commits to.

        A `claim` that names a run already returns that one. Raises, before there is a row: `NotAsked`, `InvalidPolicy`,
        `ModelNotFound`, `NoCompatibleCompute` (all `Unprocessable`), and `Unavailable` where a test key has no simulated model.
        """
        made = self._made_before(claim)
        if made is not None:
            return made
        planned = self._planner.plan(ask, principal)
        new = self._new(ask, planned, principal, self._receipts.commit_to(body))
        with self._database.transaction() as tx, failpoint("run.create"):
            run = store.insert(tx, new)
            self._events.append(tx, run.owner, "created", moved=("", run.state), announced=False)
            if claim is not None:
                idempotency.name(tx, claim, run.owner)
            self._work.start(tx, StepRef(RUN, run.id, RunStep.INFER))
        return run

    def wait(self, run: Run, *, wait_s: float) -> RunView:
        """Return the run once it has ended, or as it is after `wait_s` seconds."""

        def look() -> RunView | None:
            view = self._read(run.id)
            return view if view.end is not None else None

        return self._events.wait(run.owner, look=look, deadline_s=wait_s) or self._read(run.id)

    def get(self, run_id: str, *, tenant: str) -> RunView:
        """Return a tenant's run, with the salts that open its receipt's commitments. Raises `NotFound`."""
        view = self._find(run_id, tenant)
        if view.run.forgotten_at is not None:
            return view
        salts = {"input": view.run.input_salt}
        if view.end is not None:
            with self._database.transaction() as tx:
                salts |= self._receipts.salts(tx, run_id)
        return replace(view, salts=salts)

    def listing(self, *, tenant: str, before: str | None = None, most: int = 20) -> list[RunView]:
        """Return up to `most` runs of a tenant, newest first, older than the one named `before`. Raises `NotFound`."""
        older_than = self._find(before, tenant).run.id if before is not None else None
        with self._database.transaction() as tx:
            return store.runs_of(tx, tenant, before=older_than, most=min(most, MOST_LISTED))

    def cancel(self, run_id: str, *, tenant: str, wait_s: float = 2.0) -> RunView:
        """End a tenant's run, and return it as it then is: at once where it waits, else when its worker has let go. Raises `NotFound`.

        A run that has ended stays as it is.
        """
        found = self._find(run_id, tenant)
        if found.end is not None:
            return found
        with self._database.transaction() as tx, failpoint("run.cancel"):
            self._cancel(tx, found.run.id)
        return self.wait(found.run, wait_s=wait_s)

    def disconnect(self, run: Run) -> None:
        """Note that a caller who was to wait for a run has left: unless somebody reads it soon again, it is cancelled."""
        if self._audience.is_reading(run.id):
            return
        with self._database.transaction() as tx, failpoint("run.leave"):
            store.leave(tx, run.id)

    def frames(self, run: Run, *, after: int = 0, idle_s: float = 15.0) -> Generator[Frame | None]:
        """Yield the events of a streamed run after number `after`, as they come, up to the last; None after `idle_s` silent seconds.

        Close the iterator to leave. The last one `is_fault` where the run failed or was cancelled.
        """
        return self._audience.read(run, after=after, idle_s=idle_s)

    def moves(self, run: Run, *, after: int = 0, idle_s: float = 15.0) -> Generator[Moved | None]:
        """Yield the moves of a run after number `after`, as they come, up to its end; None after `idle_s` silent seconds."""
        while True:
            moves = self._await_moves(run, after, idle_s)
            if not moves:
                yield None
            for moved in moves:
                after = moved.seq
                yield moved
                if moved.state in RUN_ENDED:
                    return

    def expire(self) -> None:
        """End the runs whose time is up and that no worker has ended: all are busy, or theirs is gone.

        Each in a transaction of its own: one that cannot be ended keeps nobody else from it. Raises `Unavailable`.
        """
        with self._database.transaction() as tx:
            overdue = store.overdue(tx, grace_s=OVERDUE_S)
        each_apart(RUN, overdue, self._expire)

    def forget(self, tx: Tx, *, days: int) -> None:
        """Keep nothing of what was asked and answered in runs that ended more than `days` days ago; 0 keeps all.

        Rows, figures, usage and receipts stay.
        """
        if days:
            self._receipts.forget(tx, RUN, store.forget(tx, days=days, most=MOST_FORGOTTEN))

    # -- how a run is made, and ended when its time is up

    def _expire(self, run_id: int) -> None:
        with self._database.transaction() as tx:
            if not store.is_overdue(tx, run_id, grace_s=OVERDUE_S):
                return
            locked = store.lock(tx, run_id, grace_s=0)
            if locked is not None:
                self._endings.end(tx, locked.run, timed_out(locked))

    def _made_before(self, claim: KeyClaim | None) -> Run | None:
        """Return the run that an earlier request with the same key made."""
        return self._read(claim.made.id).run if claim is not None and claim.made is not None else None

    def _new(self, ask: Ask, planned: Planned, principal: Principal, committed: Committed) -> store.NewRun:
        run_id = self._ids.public(RUN_PREFIX)
        policy = planned.policy
        is_stored = policy.store_inputs and not policy.redact_pii
        timeout_ms = policy.hard_timeout_ms
        return store.NewRun(
            run_id=run_id,
            tenant=principal.tenant,
            api_key_id=principal.key_row,
            mode=principal.mode,
            surface=ask.surface,
            streamed=ask.stream,
            detached=ask.detached,
            plan=planned.plan,
            policy_hash=planned.policy_hash,
            model_passport_id=planned.model_passport_id,
            model_requested=ask.model,
            request_id=ask.request_id or run_id,
            trace_id=ask.trace_id,
            project=ask.project,
            input_salt=committed.salt,
            input_commitment=committed.digest,
            deadline_s=None if timeout_ms is None else timeout_ms / 1000,
            input=planned.input if is_stored else None,
            sealed_input=None if is_stored else self._sealer.seal(run_id, planned.input.encode()),
        )

    def _cancel(self, tx: Tx, run_id: int) -> None:
        locked = store.lock(tx, run_id, grace_s=0)
        if locked is None:
            raise IntegrityFault("a run vanished")
        if locked.run.state is RunState.QUEUED:
            self._endings.end(tx, locked.run, never_begun(locked, CancelReason.CANCELLED))
        elif locked.run.state is RunState.RUNNING:
            store.ask_to_cancel(tx, run_id)

    # -- views

    def _find(self, run_id: str, tenant: str) -> RunView:
        if not is_public(run_id, RUN_PREFIX):
            raise NotFound(NO_SUCH)
        with self._database.transaction() as tx:
            view = store.run_of(tx, run_id, tenant=tenant)
        if view is None:
            raise NotFound(NO_SUCH)
        return view

    def _read(self, run_id: int) -> RunView:
        with self._database.transaction() as tx:
            view = store.run(tx, run_id)
        if view is None:
            raise IntegrityFault("a run vanished")
        return view

    def _await_moves(self, run: Run, after: int, idle_s: float) -> list[Moved]:
        return self._events.wait(run.owner, look=lambda: self._moved(run, after) or None, deadline_s=idle_s) or []

    def _moved(self, run: Run, after: int) -> list[Moved]:
        return [
            Moved(event.seq, event.name, RunState(event.to_state), event.at)
            for event in self._events.replay(run.owner, after=after)
            if event.to_state is not None
        ]
