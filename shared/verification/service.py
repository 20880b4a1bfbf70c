"""Verifications as the door sees them: accepted, awaited, read, cancelled, resumed. Workers do them (`engine.py`)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import structlog

from shared.access.model import Mode, Principal
from shared.access.quotas import Quotas
from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.errors import Conflict, Forbidden, NotFound, Unavailable
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import Ids, is_public
from shared.kernel.transitions import next_state
from shared.receipts.service import Receipts
from shared.verification import store
from shared.verification.ending import VerificationEndings
from shared.verification.items import Submitted, Task
from shared.verification.model import (
    MOST_LISTED,
    STAGES,
    VERIFICATION_PREFIX,
    VERIFICATION_TRANSITIONS,
    Pipeline,
    Progress,
    Verification,
    VerificationEvent,
    VerificationState,
    VerificationView,
)
from shared.verification.stages import forward_result, reverse_result
from shared.verification.tools import FaultCode
from shared.verification.upstreams import Models
from shared.work.apart import each_apart
from shared.work.model import StepRef
from shared.work.service import Work

log = structlog.get_logger(__name__)

NO_SUCH = "no such run"
NOT_FAILED = "only a run that failed can be resumed"
ERASED = "what was submitted has been deleted by age, so the run cannot be resumed"
WINDING_DOWN = "the run's last attempt is still being wound down; try again in a moment"
LIVE_ONLY = "a test key cannot act on a run of a live key"
OUT_OF_TIME = "The verification did not end in time."
NOT_CANCELLED = "The verification could not be cancelled as was asked."
OVERDUE_S = 5.0
"""How long past its deadline, or after its cancelling was asked for, a verification is left to the worker that may be at it."""
MOST_ERASED = 20_000
"""So many an hour at most, lest one transaction take too long."""


@dataclass(frozen=True)
class VerificationTerms:
    """What the operator decided. `deadline_s`: for all stages of one together; `retention_days`: 0 keeps for ever."""

    deadline_s: float
    retention_days: int


class Verifications:
    """The front desk of verifications."""

    def __init__(
        self,
        database: Database,
        *,
        terms: VerificationTerms,
        models: Models,
        verification_endings: VerificationEndings,
        quotas: Quotas,
        receipts: Receipts,
        events: Events,
        work: Work,
        ids: Ids,
    ) -> None:
        self._database = database
        self._terms = terms
        self._models = models
        self._verification_endings = verification_endings
        self._quotas = quotas
        self._receipts = receipts
        self._events = events
        self._work = work
        self._ids = ids

    def forward(
        self, submitted: Submitted, *, principal: Principal, body: bytes, claim: KeyClaim | None = None
    ) -> Verification:
        """Accept code that is to be verified, and take a unit of the quota. `body`: the exact bytes of the request.

        A `claim` that names a verification already returns that one; where it has failed, it goes on at the stage that failed. Raises
        `QuotaExceeded`, and `Unavailable` (code `upstream_error`) where a test key has no simulated model.
        """
        return self._create(Pipeline.FORWARD, submitted.code, submitted, principal=principal, body=body, claim=claim)

    def reverse(self, task: Task, *, principal: Principal, body: bytes, claim: KeyClaim | None = None) -> Verification:
        """Accept a task that code is to be generated for; all else as with `forward`."""
        return self._create(Pipeline.REVERSE, task.task, task, principal=principal, body=body, claim=claim)

    def await_end(self, verification: Verification, *, wait_s: float) -> bool:
        """Wait for its end, up to `wait_s` seconds; tell whether it has come."""

        def look() -> Verification | None:
            found = self._read(verification.id)
            return found if found.has_ended else None

        return self._events.wait(verification.owner, look=look, deadline_s=wait_s) is not None

    def get(self, request_id: str, *, tenant: str) -> VerificationView:
        """Return a tenant's verification with all that came of it. Raises `NotFound`."""
        return self._view(self._find(request_id, tenant).id)

    def listing(self, *, tenant: str, before: str | None = None, most: int = 20) -> list[VerificationView]:
        """Return up to `most` of a tenant, newest first, older than the one named `before`, without contents. Raises `NotFound`."""
        older_than = self._find(before, tenant).id if before is not None else None
        with self._database.transaction() as tx:
            found = store.verifications_of(tx, tenant, before=older_than, most=min(most, MOST_LISTED))
            usage = store.usage_of(tx, [verification.id for verification in found])
        return [VerificationView(verification, usage[verification.id]) for verification in found]

    def cancel(self, request_id: str, *, principal: Principal, wait_s: float = 2.0) -> VerificationView:
        """End a tenant's verification, and return it as it then is: at once where it waits, else when its worker has let go.

        The unit of the quota is kept. One that has ended stays as it is. Raises `NotFound`, `Forbidden` for a test key at a live run.
        """
        found = self._find(request_id, principal.tenant)
        _require_reach(principal, found)
        if not found.has_ended:
            with self._database.transaction() as tx, failpoint("verification.cancel"):
                self._cancel(tx, found.id)
        self.await_end(found, wait_s=wait_s)
        return self._view(found.id)

    def resume(self, request_id: str, *, principal: Principal, claim: KeyClaim | None = None) -> Verification:
        """Have a failed verification go on at the stage that failed, with a new deadline, for another unit of the quota.

        Asked is the model of this moment: the one that it began with may be what it failed over.

        The unit counts where the verification's mode says. A `claim` under which it was resumed already resumes nothing. Raises
        `NotFound`, `Forbidden` for a test key at a live run, `Conflict` where it has not failed, has lost its code by age, or is
        not at rest yet; `QuotaExceeded`.
        """
        found = self._find(request_id, principal.tenant)
        _require_reach(principal, found)
        if claim is not None and claim.made is not None:
            return self._read(claim.made.id)
        _require_resumable(found)
        model = self._models.of(Mode(found.mode)).name
        with self._database.transaction() as tx, failpoint("verification.resume"):
            self._restart(tx, found)
            locked = store.lock(tx, found.id).verification
            _require_resumable(locked)
            taken = self._quotas.take(tx, replace(principal, mode=Mode(found.mode)), kind=found.pipeline)
            event = VerificationEvent.RESUMED
            to_state = next_state(VERIFICATION_TRANSITIONS, locked.state, event)
            store.resume(
                tx,
                found.id,
                from_state=locked.state,
                to_state=to_state,
                unit=taken.unit,
                model=model,
                deadline_s=self._terms.deadline_s,
            )
            told = {"stage": found.stage.value}
            self._events.append(tx, found.owner, event, moved=(locked.state, to_state), body=told)
            if claim is not None:
                idempotency.name(tx, claim, found.owner)
            return store.verification(tx, found.id)

    def moves(self, verification: Verification, *, after: int = 0, idle_s: float = 15.0) -> Generator[Progress | None]:
        """Yield what happens to a verification after number `after`, as it happens, up to its end; None after `idle_s` silent seconds."""
        while True:
            news = self._await_news(verification, after, idle_s)
            if not news:
                yield None
            for progress in news:
                after = progress.seq
                yield progress
            if news and self._is_over(verification, after):
                return

    def expire(self) -> None:
        """End those whose time is up, or that were to be cancelled, and that no worker has ended: all are busy, or theirs is gone.

        Each in a transaction of its own: one that cannot be ended keeps nobody else from it. Raises `Unavailable`.
        """
        with self._database.transaction() as tx:
            overdue = store.overdue(tx, grace_s=OVERDUE_S)
        each_apart("verification", overdue, self._expire)

    def prune(self, tx: Tx) -> int:
        """Delete what was submitted and what came of it where that is older than the operator keeps it; return of how many.

        The row, its figures, the receipt and its commitments stay; the salts, which open the commitments, go.
        """
        if self._terms.retention_days == 0:
            return 0
        erased = store.erase(tx, age_days=self._terms.retention_days, most=MOST_ERASED)
        for pipeline, row_ids in erased.items():
            self._receipts.forget(tx, pipeline, row_ids)
        return sum(len(row_ids) for row_ids in erased.values())

    # -- how one is made, ended and taken up again

    def _create(
        self,
        pipeline: Pipeline,
        subject: str,
        asked: Submitted | Task,
        *,
        principal: Principal,
        body: bytes,
        claim: KeyClaim | None,
    ) -> Verification:
        if claim is not None and claim.made is not None:  # by an earlier request with the same key
            return self._taken_up(self._read(claim.made.id), principal)
        new = store.NewVerification(
            request_id=self._ids.public(VERIFICATION_PREFIX),
            pipeline=pipeline,
            tenant=principal.tenant,
            api_key_id=principal.key_row,
            mode=principal.mode,
            model=self._models.of(principal.mode).name,
            language=asked.language,
            subject=subject,
            context=asked.context,
            request=self._receipts.commit_to(body),
            input=self._receipts.commit_to(subject.encode()),
            stage=STAGES[pipeline][0],
            deadline_s=self._terms.deadline_s,
        )
        with self._database.transaction() as tx, failpoint("verification.create"):
            unit = self._quotas.take(tx, principal, kind=pipeline).unit
            made = store.verification(tx, store.insert(tx, new, unit=unit))
            self._events.append(tx, made.owner, "created", moved=("", made.state), announced=False)
            if claim is not None:
                idempotency.name(tx, claim, made.owner)
            self._work.start(tx, StepRef(made.pipeline, made.id, made.stage))
        return made

    def _taken_up(self, found: Verification, principal: Principal) -> Verification:
        """Return the verification that a repeated request asks for. One that has failed is resumed: that is what it is repeated for."""
        if found.state is not VerificationState.FAILED:
            return found
        try:
            return self.resume(found.request_id, principal=principal)
        except Conflict:  # another repetition was first, or its code is gone
            return self._read(found.id)

    def _cancel(self, tx: Tx, row_id: int) -> None:
        verification = store.lock(tx, row_id).verification
        if verification.has_ended:
            return
        if store.is_at_work(tx, row_id):
            store.ask_to_cancel(tx, row_id)
        else:
            self._verification_endings.cancel(tx, verification)

    def _expire(self, row_id: int) -> None:
        """End one that is overdue still. One that cannot be cancelled fails: that asks less of the rows than a receipt does."""
        try:
            self._end_overdue(row_id)
        except Unavailable:
            raise
        except Exception as error:
            if not self._read(row_id).is_cancel_asked:
                raise
            log.warning("verification_not_cancelled", verification=row_id, error=type(error).__name__)
            self._end_overdue(row_id, instead=NOT_CANCELLED)

    def _end_overdue(self, row_id: int, *, instead: str | None = None) -> None:
        """End it if it is overdue still. `instead`: why it fails although it was to be cancelled."""
        with self._database.transaction() as tx:
            verification = store.lock_overdue(tx, row_id, grace_s=OVERDUE_S)
            if verification is None:
                return
            if verification.is_cancel_asked and instead is None:
                self._verification_endings.cancel(tx, verification)
            else:
                fault = FaultCode.INTERNAL_ERROR, instead or OUT_OF_TIME
                self._verification_endings.fail(tx, verification, *fault)

    def _restart(self, tx: Tx, verification: Verification) -> None:
        """Have the step of the failed stage done again: it was given up, or nobody has come to it since the run was ended.

        Before the verification is locked: whoever ends a step locks them in this order.
        """
        if not self._work.restart(tx, StepRef(verification.pipeline, verification.id, verification.stage)):
            raise Conflict(WINDING_DOWN)

    # -- views

    def _find(self, request_id: str, tenant: str) -> Verification:
        if not is_public(request_id, VERIFICATION_PREFIX):
            raise NotFound(NO_SUCH)
        with self._database.transaction() as tx:
            found = store.verification_of(tx, request_id, tenant=tenant)
        if found is None:
            raise NotFound(NO_SUCH)
        return found

    def _read(self, row_id: int) -> Verification:
        with self._database.transaction() as tx:
            return store.verification(tx, row_id)

    def _view(self, row_id: int) -> VerificationView:
        with self._database.transaction() as tx:
            verification = store.verification(tx, row_id)
            subject, context = store.submission(tx, row_id)
            outputs = store.outputs(tx, row_id)
            rows = [row for row, _ in store.stage_rows(tx, row_id)]
            usage = store.usage_of(tx, [row_id])[row_id]
            receipt_id = self._receipts.id_of(tx, verification.owner)
            salts = {} if verification.is_erased else self._salts(tx, verification, receipt_id)
        is_forward, is_here = verification.pipeline is Pipeline.FORWARD, subject is not None
        language = verification.language
        return VerificationView(
            verification,
            usage,
            submitted=Submitted(subject, language, context) if subject is not None and is_forward else None,
            task=Task(subject, language, context) if subject is not None and not is_forward else None,
            forward=forward_result(outputs) if is_here and is_forward else None,
            reverse=reverse_result(outputs) if is_here and not is_forward else None,
            stage_rows=tuple(rows),
            receipt_id=receipt_id,
            salts=salts,
        )

    def _salts(self, tx: Tx, verification: Verification, receipt_id: str | None) -> dict[str, bytes]:
        salts = {name: made.salt for name, made in store.commitments(tx, verification.id).items()}
        return salts if receipt_id is None else salts | self._receipts.salts(tx, receipt_id)

    def _await_news(self, verification: Verification, after: int, idle_s: float) -> Sequence[Progress]:
        owner = verification.owner
        return self._events.wait(owner, look=lambda: self._news(verification, after) or None, deadline_s=idle_s) or ()

    def _news(self, verification: Verification, after: int) -> list[Progress]:
        return [
            Progress(
                event.seq,
                event.name,
                None if event.to_state is None else VerificationState(event.to_state),
                event.at,
                event.body,
            )
            for event in self._events.replay(verification.owner, after=after)
        ]

    def _is_over(self, verification: Verification, after: int) -> bool:
        """Tell whether it has ended and nothing came after number `after`: one that failed may have been resumed since."""
        return self._read(verification.id).has_ended and not self._news(verification, after)


def _require_reach(principal: Principal, verification: Verification) -> None:
    if principal.mode is Mode.TEST and verification.mode != Mode.TEST:
        raise Forbidden(LIVE_ONLY)


def _require_resumable(verification: Verification) -> None:
    if verification.state is not VerificationState.FAILED:
        raise Conflict(NOT_FAILED)
    if verification.is_erased:
        raise Conflict(ERASED)
