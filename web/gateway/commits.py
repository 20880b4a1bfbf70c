"""Commit epochs by hand: close them, have them anchored, ask again where that failed."""

from __future__ import annotations

from typing import Any

from flask import Response

from shared.access.model import OPERATOR, Scope
from shared.kernel.errors import Forbidden
from shared.receipts.commits import Asked, By, Commit, Entry, NotAnchored
from web import problems
from web.auth import ADMIN, BEARER, REFUSALS, caller, principal
from web.context import container
from web.door import Answers, Guard
from web.gateway import epoch_schemas as schemas
from web.gateway import epochs
from web.gateway.views import commit_shown, retries_of, tx_in_words
from web.idempotency import key_claim
from web.problems import Door

operations = epochs.operations

_ADMIN = caller(Scope.ADMIN, anonymous=False)
_KEY = caller(Scope.INFERENCE, anonymous=False)


def _admit(**parameters: str) -> str:
    """Admit both kinds of keys: which epochs each may commit is decided by the epoch."""
    try:
        return _ADMIN.admit(**parameters)
    except Forbidden:
        return _KEY.admit(**parameters)


_COMMITTER = Guard(BEARER, _admit, alternatives=(ADMIN,), refusals=REFUSALS)


@operations.post(
    "/v1/receipts/commit-root",
    "lucid_commit_epoch_root",
    Answers(schemas.CommittedSchema, 202, (400, 500), also={503: schemas.NotAnchoredSchema}),
    body=schemas.CommitRootSchema,
    guard=_COMMITTER,
)
def commit_root(body: dict[str, Any]) -> dict[str, Any] | Response:
    """Close an epoch and have its root anchored

    The log's own with the scope admin, a project's with its tenant's key. Waits a few seconds for the targets; `status` says how far
    it came. An epoch that is closed already gets the same answer. An empty one is refused, unless `force` is set: then a project's
    closes empty, and the log's newest boundary is anchored in place of an epoch that stays open.
    """
    asked = Asked(body.get("epoch_id"), body.get("project_id"), force=body.get("force", False))
    try:
        commit = container().epoch_commits.commit(asked, by=_by(), claim=key_claim())
    except NotAnchored as error:
        members = {"epoch_id": error.epoch_id, "root": error.root.hex()}
        return problems.response_to(problems.problem_of(error, Door.GATEWAY), members=members)
    return {"success": True, **commit_shown(commit), "tx": tx_in_words(commit), "on_chain": False}


@operations.post(
    "/v1/receipts/commit-roots-batch",
    "lucid_commit_epoch_roots_batch",
    Answers(schemas.CommittedAllSchema, 202, (400, 500, 503)),
    body=schemas.CommitRootsSchema,
    guard=_COMMITTER,
)
def commit_roots(body: dict[str, Any]) -> dict[str, Any]:
    """Close up to 16 epochs and have their roots anchored, each for itself"""
    results = [_entry_shown(entry) for entry in container().epoch_commits.commit_each(body["epoch_ids"], by=_by())]
    successful = sum(result["success"] for result in results)
    counts = {"total": len(results), "successful_count": successful, "failed_count": len(results) - successful}
    return {"success": successful == len(results), **counts, "results": results}


@operations.post(
    "/v1/epochs/<epoch_id>/retry",
    "lucid_retry_epoch",
    Answers(schemas.RetriedResponseSchema, errors=(400, 500, 503)),
    guard=_COMMITTER,
)
def retry_epoch(epoch_id: str) -> dict[str, Any]:
    """Ask the anchor targets again for an epoch that has failed"""
    view = container().epoch_commits.retry(epoch_id, by=_by(), claim=key_claim())
    epoch = {"epoch_id": view.epoch.epoch_id, "status": str(view.status), "retry_count": retries_of(view.anchors)}
    return {"success": True, "epoch": epoch}


def _by() -> By:
    who = principal()
    return By(who.tenant, may_commit_log=Scope.ADMIN in who.scopes, is_operator=who.tenant == OPERATOR)


def _entry_shown(entry: Entry) -> dict[str, Any]:
    if isinstance(entry.commit, Commit):
        return {"success": True, **commit_shown(entry.commit)}
    shown: dict[str, Any] = {"success": False, "epoch_id": entry.epoch_id}
    if entry.error is not None:
        shown |= {"error": entry.error.message, "error_code": entry.error.code.upper()}
    if isinstance(entry.error, NotAnchored):
        shown["root"] = entry.error.root.hex()
    return shown
