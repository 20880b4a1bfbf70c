"""A subscriber who buys plans at any number of faults: each is asked for under a key of its own, paid once and given once."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.patient import Patient

_INVOICE = "/api/v1/plans/pro/invoice"


class Subscriber(Patient):
    """Buys plans of one running stack, each time for another tenant."""

    def buy(self) -> None:
        """Ask for a plan, pay it, have it: one purchase, and thirty days of it."""
        key, name = self._key(), uuid.uuid4().hex
        asked = self.until(lambda: self._ask(key, name), what="an invoice for a plan")
        self.pay(asked["payment_request"])
        self.until(lambda: self._look(key, asked["id"])["state"] == "paid", what="a plan that is paid")
        usage = self.until(lambda: self._get(key, "/api/v1/usage"), what="figures")
        assert (usage["tier"], len(usage["paid_plans"])) == ("pro", 1), usage

    def ask_once(self) -> httpx.Response:
        """Ask for a plan's invoice, whatever comes of it."""
        return self._api.post(_INVOICE, headers=_bearer(self._key()))

    def _key(self) -> str:
        body = {"mode": "live", "scopes": ["verification"], "tenant": f"subscriber-{uuid.uuid4().hex}"}

        def made() -> str:
            answer = self._api.post("/v1/admin/keys", json=body, headers={"X-Admin-Key": ADMIN_KEY})
            assert answer.status_code == httpx.codes.CREATED, f"{answer.status_code} {answer.text[:200]}"
            return str(answer.json()["key"])

        return self.until(made, what="a key")

    def _ask(self, key: str, name: str) -> dict[str, Any]:
        answer = self._api.post(_INVOICE, headers={**_bearer(key), "Idempotency-Key": name})
        if answer.status_code == httpx.codes.CONFLICT:
            self._on_conflict(name)
        assert answer.status_code == httpx.codes.CREATED, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())

    def _look(self, key: str, invoice_id: str) -> dict[str, Any]:
        return self._get(key, f"/api/v1/plans/invoices/{invoice_id}")

    def _get(self, key: str, path: str) -> dict[str, Any]:
        answer = self._api.get(path, headers=_bearer(key))
        assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
