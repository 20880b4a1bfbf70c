"""A customer of the pipelines at any number of faults: what he submits is accepted once under its key, ended once, and counted right."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.patient import Patient

_FORWARD, _RUNS, _USAGE = "/api/v1/forward", "/api/v1/runs", "/api/v1/usage"
_CODE = "def add(a, b)\n  a - b\nend\n"
_LANGUAGE = "ruby"  # it is not run, only looked at
_SUBTRACTION = "def add(a, b):\n    return a - b\n"
_PURPOSE = "Function should add two numbers"
_ENDED = ("complete", "failed", "cancelled")
REFUSED = "[sim:refusal]"
SILENT = "[sim:hang]"


class Verifier(Patient):
    """Has code verified by one running stack, each time for another tenant."""

    def live(self) -> int:
        """Have code verified, resumed as often as it fails: in the end complete, counted once, its defect found; return the resumptions."""
        key, resumptions = self._key(), 0
        run_id = self._submit(key, _PURPOSE, code=_SUBTRACTION, language="python")
        while (shown := self._reach(key, run_id, _ENDED))["state"] == "failed":
            resumptions += 1
            self.until(lambda: self._goes_on(key, run_id), what="a resumption")
        assert (shown["state"], bool(shown["receipt_id"])) == ("complete", True), shown
        verdicts = shown["result"]["verification"]["items"]
        assert {"FAIL"} <= {verdict["verdict"] for verdict in verdicts if verdict["evidence_kind"] == "executed"}, shown
        self._require_used(key, 1)
        return resumptions

    def verify(self) -> None:
        """Have code verified: complete, one verification counted, one receipt."""
        key = self._key()
        run_id = self._submit(key, _PURPOSE)
        shown = self._reach(key, run_id, _ENDED)
        assert (shown["state"], bool(shown["receipt_id"])) == ("complete", True), shown
        self._require_used(key, 1)

    def cancel(self) -> None:
        """Submit what takes for ever, and cancel it: counted, with a receipt."""
        key = self._key()
        run_id = self._submit(key, SILENT)
        self._reach(key, run_id, ("running",))
        self.until(lambda: self._post(key, f"{_RUNS}/{run_id}/cancel", httpx.codes.OK), what="a cancelling")
        shown = self._reach(key, run_id, _ENDED)
        assert (shown["state"], bool(shown["receipt_id"])) == ("cancelled", True), shown
        self._require_used(key, 1)

    def fail_and_resume(self) -> None:
        """Submit what the model refuses, twice: it fails, is not counted, and so again once resumed."""
        key = self._key()
        run_id = self._submit(key, REFUSED)
        self._reach(key, run_id, ("failed",))
        self._require_used(key, 0)
        self.until(lambda: self._resume(key, run_id), what="a resumption")
        self._reach(key, run_id, ("failed",))
        self._require_used(key, 0)

    def _resume(self, key: str, run_id: str) -> bool:
        """Ask until it was resumed; an answer that was lost is made up for by a second resumption, which fails as the first did."""
        return self._post(key, f"{_RUNS}/{run_id}/resume", httpx.codes.ACCEPTED)

    def _goes_on(self, key: str, run_id: str) -> bool:
        """Have it resumed where it has failed; one whose answer was lost goes on already."""
        return self._get(key, f"{_RUNS}/{run_id}")["state"] != "failed" or self._resume(key, run_id)

    def _submit(self, key: str, context: str, *, code: str = _CODE, language: str = _LANGUAGE) -> str:
        body = {"code": code, "language": language, "context": context}
        headers = {**_bearer(key), "Prefer": "respond-async", "Idempotency-Key": uuid.uuid4().hex}

        def accepted() -> str:
            answer = self._api.post(_FORWARD, json=body, headers=headers)
            if answer.status_code == httpx.codes.CONFLICT:
                self._on_conflict(headers["Idempotency-Key"])
            assert answer.status_code == httpx.codes.ACCEPTED, f"{answer.status_code} {answer.text[:200]}"
            return str(answer.json()["request_id"])

        return self.until(accepted, what="a verification")

    def _reach(self, key: str, run_id: str, states: tuple[str, ...]) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            shown = self._get(key, f"{_RUNS}/{run_id}")
            return shown if shown["state"] in states else None

        return self.until(reached, what=f"a verification that is {' or '.join(states)}")

    def _require_used(self, key: str, units: int) -> None:
        usage = self.until(lambda: self._get(key, _USAGE), what="figures")
        assert usage["verifications"]["used"] == units, usage

    def _post(self, key: str, path: str, wanted: int) -> bool:
        answer = self._api.post(path, headers=_bearer(key))
        assert answer.status_code == wanted, f"{answer.status_code} {answer.text[:200]}"
        return True

    def _get(self, key: str, path: str) -> dict[str, Any]:
        answer = self._api.get(path, headers=_bearer(key))
        assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())

    def _key(self) -> str:
        tenant = f"verifier-{uuid.uuid4().hex}"
        body = {"mode": "live", "tier": "team", "scopes": ["verification"], "tenant": tenant}

        def made() -> str:
            answer = self._api.post("/v1/admin/keys", json=body, headers={"X-Admin-Key": ADMIN_KEY})
            assert answer.status_code == httpx.codes.CREATED, f"{answer.status_code} {answer.text[:200]}"
            return str(answer.json()["key"])

        return self.until(made, what="a key")


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
