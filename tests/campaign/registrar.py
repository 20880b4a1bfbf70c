"""A provider who registers a node of his own, changes what it says and withdraws it; each is done once at any number of faults."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from tests.campaign.administrator import ADMIN_KEY
from tests.campaign.patient import Patient
from tests.contract.catalogue import ENDPOINT, draft

_PASSPORTS = "/v1/passports"


class Registrar(Patient):
    """Keeps passports on one running stack. What is asked is asked again in the same words."""

    def __init__(self, endpoints: Mapping[str, Any], **manner: Any) -> None:
        super().__init__(endpoints, **manner)
        self._api.headers["X-Admin-Key"] = ADMIN_KEY

    def keep_a_node(self) -> None:
        """Register a node, change it, speak for it, withdraw it; it is there once, and says what was said last."""
        name, key = f"node-{uuid.uuid4().hex}", uuid.uuid4().hex
        made = self.until(lambda: self._ask("POST", _PASSPORTS, draft("compute", name=name), key), what="a passport")
        place = f"{_PASSPORTS}/{made['passport_id']}"
        beat = {"compute_passport_id": made["passport_id"], "status": "degraded", "queue_depth": 3}
        self._insist("PATCH", place, {"description": "changed"})
        self._insist("PATCH", f"{place}/pricing", {"billing_model": "flat"})
        self._insist("PATCH", f"{place}/endpoints", {"inference_url": ENDPOINT})
        self._insist("POST", "/v1/compute/nodes/heartbeat", beat)
        self._insist("DELETE", place, None)
        shown = self._insist("GET", place, None)["passport"]
        assert (shown["name"], shown["description"], shown["status"]) == (name, "changed", "revoked")
        assert (shown["pricing"], shown["endpoints"]) == ({"billing_model": "flat"}, {"inference_url": ENDPOINT})
        found = self._insist("GET", f"{_PASSPORTS}?search={name}&status=revoked", None)
        assert [passport["passport_id"] for passport in found["passports"]] == [made["passport_id"]]

    def _insist(self, method: str, path: str, body: object) -> dict[str, Any]:
        return self.until(lambda: self._ask(method, path, body), what=f"{method} {path}")

    def _ask(self, method: str, path: str, body: object, key: str = "") -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        answer = self._api.request(method, path, json=body, headers=headers)
        if answer.status_code == httpx.codes.CONFLICT:
            self._on_conflict(key)
        assert answer.is_success, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())
