"""Close epochs by hand, have them anchored, and ask again where that failed. The anchoring itself is a step; here it is waited for.

The log's own epochs are the operator's to close, a project's its tenant's. Whatever is closed ends on a size on which an epoch of
the log ends too, so one anchor serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db.service import Database, Tx
from shared.events.service import Events
from shared.idempotency import service as idempotency
from shared.idempotency.model import Claim as KeyClaim
from shared.kernel.clock import Clock
from shared.kernel.errors import Forbidden, IntegrityFault, InvalidInput, LucidError, Unavailable
from shared.kernel.failpoints import effect as failpoint
from shared.kernel.ids import is_public
from shared.kernel.owner import Owner
from shared.merkle.hashing import EMPTY_ROOT
from shared.receipts import project_store, store
from shared.receipts.log import ANCHOR, Log
from shared.receipts.model import Anchor, AnchorState, EpochState, EpochStatus, EpochView
from shared.receipts.reading import EPOCH
from shared.receipts.service import Receipts

PROJECT_EPOCH = "project_epoch"
MOST_AT_ONCE = 16
UNKNOWN = "epoch_not_found"
_PENDING = frozenset({AnchorState.INTENDED, AnchorState.SUBMITTED})


@dataclass(frozen=True)
class Asked:
    """Which epoch: by its id, the newest of a project, or without either the log's open one. `force` accepts an empty one."""

    epoch_id: str | None = None
    project: str | None = None
    force: bool = False


@dataclass(frozen=True)
class By:
    """Who asks. `may_commit_log`: the log's own epochs too; `is_operator`: anybody's."""

    tenant: str
    may_commit_log: bool
    is_operator: bool = False


@dataclass(frozen=True)
class Commit:
    """What was committed: an epoch, the root at its end, and who was asked to vouch for it. `size`: the log's, at that end."""

    view: EpochView
    root: bytes
    size: int
    anchors: list[Anchor]


@dataclass(frozen=True)
class Entry:
    """One epoch of several that were to be committed: how it ended, or why it did not."""

    epoch_id: str
    commit: Commit | None
    error: LucidError | None


class NotAnchored(Unavailable):
    """Nobody vouches for the epoch: no target is configured, or each has refused. `root`: the log's at the epoch's end."""

    code = "not_anchored"

    def __init__(
        self, message: str, *, epoch_id: str, root: bytes, retry_after_s: int, code: str | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, code=code)
        self.epoch_id = epoch_id
        self.root = root


class Commits:
    """Takes the orders to close and to anchor. `wait_s`: how long an answer waits for the targets."""

    def __init__(
        self, database: Database, *, log: Log, receipts: Receipts, events: Events, clock: Clock, wait_s: float
    ) -> None:
        self._database = database
        self._log = log
        self._receipts = receipts
        self._events = events
        self._clock = clock
        self._wait_s = wait_s

    def commit(self, asked: Asked, *, by: By, claim: KeyClaim | None = None) -> Commit:
        """Close the epoch where it is open, have its end anchored and wait for that a while. One that is closed answers the same.

        Every receipt that was issued before the call counts. Raises `InvalidInput` (no such epoch, nothing in it), `Forbidden` (the
        log's, without the right to it), `NotAnchored`.
        """
        return self._await(self._accept(asked, by, claim), self._wait_s)

    def commit_each(self, epoch_ids: Sequence[str], *, by: By) -> list[Entry]:
        """Commit several, in their order, each for itself; the wait is one for all."""
        accepted = [self._accepted(epoch_id, by) for epoch_id in epoch_ids]
        ends_at = self._clock.monotonic() + self._wait_s
        return [
            self._entry(epoch_id, found, max(0.0, ends_at - self._clock.monotonic()))
            for epoch_id, found in zip(epoch_ids, accepted, strict=True)
        ]

    def retry(self, epoch_id: str, *, by: By, claim: KeyClaim | None = None) -> EpochView:
        """Ask again every target that has failed for an epoch.

        Of several calls one does it. Raises `InvalidInput` for an epoch that has not failed, `Forbidden` as `commit` does.
        """
        with self._database.transaction() as tx, failpoint("epoch.retry"):
            made = _made(claim)
            if made is None:
                made = self._find(tx, Asked(epoch_id), by)
                view = _view(tx, made)
                size = view.epoch.end_size
                if view.status is not EpochStatus.FAILED or size is None or not self._log.have_anchored_again(tx, size):
                    raise InvalidInput("only an epoch that has failed is tried again", code="epoch_not_failed")
                if claim is not None:
                    idempotency.name(tx, claim, made)
            return _view(tx, made)

    # -- accepting

    def _accept(self, asked: Asked, by: By, claim: KeyClaim | None) -> Owner:
        found = _made(claim) or self._named(asked, by)
        commit = self._look(found)
        if not self._log.has_targets and commit.view.status is not EpochStatus.ANCHORED:
            raise _unanchored(commit, "no anchor target is configured, so nothing was closed", code="no_anchor_target")
        if commit.view.epoch.state is EpochState.OPEN:
            self._log.integrate(wait=True)
        with self._database.transaction() as tx, failpoint("epoch.commit"):
            if found.kind == PROJECT_EPOCH:
                self._commit_project(tx, found.id, force=asked.force)
            else:
                self._commit_log(tx, found.id, force=asked.force)
            if claim is not None and claim.made != found:
                idempotency.name(tx, claim, found)
        return found

    def _named(self, asked: Asked, by: By) -> Owner:
        if asked.epoch_id is None and asked.project is None:
            require_right_to_log(by)
            return Owner(EPOCH, self._log.open_epoch().epoch.number)
        with self._database.transaction() as tx:
            return self._find(tx, asked, by)

    def _find(self, tx: Tx, asked: Asked, by: By) -> Owner:
        if asked.epoch_id is None and asked.project is not None:
            newest = project_store.newest_project_epoch(
                tx, tenant=self._receipts.tenant(by.tenant), project=asked.project
            )
            if newest is None:
                raise InvalidInput("no epoch of this project was opened", field="project_id", code=UNKNOWN)
            return Owner(PROJECT_EPOCH, newest[0])
        epoch_id = asked.epoch_id if asked.epoch_id is not None and is_public(asked.epoch_id, EPOCH) else ""
        of_project = project_store.project_epoch_by_id(tx, epoch_id)
        is_theirs = of_project is not None and (by.is_operator or of_project[1] == self._receipts.tenant(by.tenant))
        if of_project is not None and is_theirs and asked.project in (None, of_project[2].epoch.project):
            return Owner(PROJECT_EPOCH, of_project[0])
        of_log = store.epoch_by_id(tx, epoch_id) if asked.project is None else None
        if of_log is None:
            raise InvalidInput("epoch not found", field="epoch_id", code=UNKNOWN)
        return self._allowed(of_log, by)

    def _allowed(self, view: EpochView, by: By) -> Owner:
        if not by.may_commit_log:
            raise Forbidden(
                "the log's own epochs are committed with the scope admin; a project's with its tenant's key"
            )
        return Owner(EPOCH, view.epoch.number)

    def _commit_log(self, tx: Tx, number: int, *, force: bool) -> None:
        epoch = self._log.lock_open_epoch(tx)
        if number != epoch.number:  # closed before, by whomever
            self._have_anchored(tx, _read(tx, Owner(EPOCH, number)).size)
        elif store.log_size(tx) > epoch.start_size:
            self._log.close_epochs(tx, by_hand=True)
        else:
            self._anchor_again(tx, epoch.start_size, force=force)

    def _commit_project(self, tx: Tx, row_id: int, *, force: bool) -> None:
        """Close a project's epoch, and the log's where that holds receipts of the project: both then end on one size."""
        epoch = project_store.lock_project_epoch(tx, row_id)
        if epoch is None:
            self._have_anchored(tx, _read(tx, Owner(PROJECT_EPOCH, row_id)).size)
            return
        size = self._log.lock_open_epoch(tx).start_size
        before = project_store.project_receipts(tx, row_id, end_size=size)
        in_all = project_store.project_receipts(tx, row_id, end_size=store.log_size(tx))
        if in_all > before:
            self._log.close_epochs(tx, by_hand=True)
            size = self._log.lock_open_epoch(tx).start_size
        elif in_all == 0:
            self._anchor_again(tx, size, force=force)
        receipts = project_store.project_receipts(tx, row_id, end_size=size)
        root = self._have_anchored(tx, size)
        project_store.close_project_epoch(tx, row_id, end_size=size, root=root, receipts=receipts)

    def _anchor_again(self, tx: Tx, size: int, *, force: bool) -> None:
        """Have the newest boundary anchored in an empty epoch's stead."""
        if not force:
            raise InvalidInput(
                "the epoch is empty: with force the log's newest boundary is anchored", code="epoch_empty"
            )
        if size == 0:
            raise InvalidInput("the log is empty: there is nothing to anchor", code="epoch_empty")
        self._log.have_anchored_again(tx, size)
        self._have_anchored(tx, size)

    def _have_anchored(self, tx: Tx, size: int) -> bytes:
        head = self._log.head_at(tx, size)
        self._log.have_anchored(tx, head)
        return head.root

    # -- waiting

    def _await(self, found: Owner, wait_s: float) -> Commit:
        """Return the commit once no target is pending, or as it stands when the time is over. Raises `NotAnchored`."""
        commit = self._look(found)
        pending = [anchor.id for anchor in commit.anchors if anchor.state in _PENDING]
        if pending:
            ended = self._events.wait(
                Owner(ANCHOR, pending[0]), look=lambda: self._look_for_an_end(found), deadline_s=wait_s
            )
            commit = ended or self._look(found)
        if commit.anchors and all(anchor.state is AnchorState.FAILED for anchor in commit.anchors):
            raise _unanchored(commit, "every anchor target has refused: ask for a retry")
        return commit

    def _look(self, found: Owner) -> Commit:
        with self._database.transaction() as tx:
            return _read(tx, found)

    def _look_for_an_end(self, found: Owner) -> Commit | None:
        commit = self._look(found)
        return None if any(anchor.state in _PENDING for anchor in commit.anchors) else commit

    def _accepted(self, epoch_id: str, by: By) -> Owner | LucidError:
        try:
            return self._accept(Asked(epoch_id), by, None)
        except (InvalidInput, Forbidden, NotAnchored) as error:
            return error

    def _entry(self, epoch_id: str, found: Owner | LucidError, wait_s: float) -> Entry:
        if isinstance(found, LucidError):
            return Entry(epoch_id, None, found)
        try:
            return Entry(epoch_id, self._await(found, wait_s), None)
        except NotAnchored as error:
            return Entry(epoch_id, None, error)


def require_right_to_log(by: By) -> None:
    """Raise `Forbidden` for whoever may not close the log's own epochs."""
    if not by.may_commit_log:
        raise Forbidden("the log's own epochs are committed with the scope admin, a project's with its tenant's key")


def _made(claim: KeyClaim | None) -> Owner | None:
    """Return the epoch that an earlier call with the same key was about."""
    made = claim.made if claim is not None else None
    return made if made is not None and made.kind in (EPOCH, PROJECT_EPOCH) else None


def _view(tx: Tx, found: Owner) -> EpochView:
    view: EpochView | None
    if found.kind == PROJECT_EPOCH:
        of_project = project_store.project_epoch_by_row(tx, found.id)
        view = of_project[2] if of_project is not None else None
    else:
        view = store.epoch_by_number(tx, found.id)
    if view is None:
        raise IntegrityFault("an epoch vanished")
    return view


def _read(tx: Tx, found: Owner) -> Commit:
    """Return an epoch as it stands; of an open one the boundary before it, which is what a forced commit has anchored."""
    view = _view(tx, found)
    size = view.epoch.end_size if view.epoch.end_size is not None else view.epoch.start_size
    head = store.checkpoint(tx, size)
    root = view.epoch.root or (head.root if head is not None else EMPTY_ROOT)
    anchors = store.anchors_of(tx, size)
    if view.status is EpochStatus.ANCHORING:  # read before the anchors were: they may have ended in between
        view = _view(tx, found)
    return Commit(view, root, size, anchors)


def _unanchored(commit: Commit, message: str, *, code: str | None = None) -> NotAnchored:
    return NotAnchored(
        message, epoch_id=commit.view.epoch.epoch_id, root=commit.root, retry_after_s=3600 if code else 60, code=code
    )
