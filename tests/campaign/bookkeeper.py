"""A tenant with work done elsewhere: claims it, closes its epochs, shares out its price; each is there once at any number of faults."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.patient import Patient
from tests.e2e.ledger_reader import LedgerReader

CLAIM = {
    "model_passport_id": "m",
    "compute_passport_id": "c",
    "policy_hash": "0" * 64,
    "runtime": "vllm",
    "tokens_in": 1000,
    "tokens_out": 500,
    "ttft_ms": 1,
}
# As a refusal of the witness leaves an epoch; the sandbox's own refuses nothing.
ITS_ANCHOR_FAILED = """WITH failed AS (
    UPDATE anchors SET state = 'failed', evidence = NULL, target_key = NULL, fault = 'refused' FROM epochs
     WHERE epochs.epoch_id = %(epoch)s AND anchors.size = epochs.end_size RETURNING anchors.id)
    UPDATE steps SET state = 'failed' FROM failed WHERE owner_kind = 'anchor' AND owner_id = failed.id RETURNING steps.id"""


class Bookkeeper(Patient):
    """Keeps the books of one project after the other. What is asked is asked again in the same words."""

    def claim_and_commit(self) -> None:
        """Open a project's epoch, claim a run, close the epoch: one claim, one receipt, one epoch that holds it."""
        project, run_id = uuid.uuid4().hex, f"run:{uuid.uuid4().hex}"
        opened = self._insist("/v1/epochs", {"project_id": project})["epoch"]
        claimed = self._insist("/v1/receipts", {**CLAIM, "run_id": run_id, "project_id": project})["receipt"]
        assert claimed["run_id"] == run_id
        committed = self._insist("/v1/receipts/commit-root", {"project_id": project})
        assert (committed["epoch_id"], committed["leaf_count"]) == (opened["epoch_id"], 1), committed
        self._reach(opened["epoch_id"], "anchored")
        listed = self.until(lambda: self._ask("GET", f"/v1/epochs?project_id={project}"), what="a list")
        assert listed["pagination"]["total"] == 1

    def have_anchored_again(self, ledger: LedgerReader) -> None:
        """Have an epoch of the log anchored that the witness refused."""
        self._insist("/v1/receipts", CLAIM)
        epoch_id = self._insist("/v1/receipts/commit-root", {})["epoch_id"]
        self._reach(epoch_id, "anchored")
        assert ledger.rows(ITS_ANCHOR_FAILED, epoch=epoch_id)
        self.until(lambda: self._retried(epoch_id), what="another try")
        self._reach(epoch_id, "anchored")
        assert self.until(lambda: self._epoch(epoch_id), what="an epoch")["retry_count"] == 1

    def share_out(self) -> None:
        """Calculate a payout: one record, whose hash every answer names."""
        body = {"run_id": uuid.uuid4().hex, "total_amount_lamports": "101", "compute_wallet": "C"}
        calculated = self._insist("/v1/payouts/calculate", body)["payout"]
        kept = self.until(lambda: self._ask("GET", f"/v1/payouts/{body['run_id']}"), what="a payout")["payout"]
        assert kept == calculated

    def _insist(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.until(lambda: self._ask("POST", path, body), what=path)

    def _retried(self, epoch_id: str) -> bool:
        """Tell whether it was tried again: by this call, or by one whose answer was lost."""
        if self._epoch(epoch_id)["status"] == "failed":
            self._ask("POST", f"/v1/epochs/{epoch_id}/retry", {})
        return True

    def _reach(self, epoch_id: str, status: str) -> None:
        self.until(lambda: self._epoch(epoch_id)["status"] == status, what=f"an epoch that is {status}")

    def _epoch(self, epoch_id: str) -> dict[str, Any]:
        return dict(self._ask("GET", f"/v1/epochs/{epoch_id}")["epoch"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._api.request(method, path, json=body, headers={"X-Admin-Key": ADMIN_KEY})
        assert answer.status_code < httpx.codes.MULTIPLE_CHOICES, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())
