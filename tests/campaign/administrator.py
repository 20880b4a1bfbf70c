"""An administrator of API keys: makes one, exchanges it, withdraws it, and leaves none that opens anything, at any number of faults."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from tests.campaign.patient import Patient

ADMIN_KEY = "the admin key of the failpoint sweep"
_KEYS = "/v1/admin/keys"


class Administrator(Patient):
    """Keeps keys of one running stack, each time for another tenant."""

    def keep_keys(self) -> None:
        """Make a key, exchange it and withdraw what is valid; at each moment at most the newest one is let in."""
        tenant = f"campaign-{uuid.uuid4().hex}"
        first = self.until(lambda: self._ask("POST", _KEYS, tenant), what="a key")
        self.until(
            lambda: self._ask("POST", f"{_KEYS}/{first['id']}/rotate") or self._successors(tenant), what="another"
        )
        assert not self.until(lambda: [self._is_let_in(first["key"])], what="an answer")[0]
        for key in self._valid(tenant):
            self.until(lambda key=key: self._ask("DELETE", f"{_KEYS}/{key['id']}"), what="a withdrawal")  # type: ignore[misc] # bound now
        assert self._valid(tenant) == []

    def _ask(self, method: str, path: str, tenant: str = "") -> dict[str, Any] | None:
        """Return an answer of success; None where the key was exchanged before, by a call whose answer was lost."""
        body = {"mode": "test", "scopes": ["admin"], "tenant": tenant} if tenant else None
        answer = self._api.request(method, path, json=body, headers={"X-Admin-Key": ADMIN_KEY})
        if answer.status_code == httpx.codes.CONFLICT:
            return None
        assert answer.is_success, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())

    def _successors(self, tenant: str) -> list[dict[str, Any]]:
        return [key for key in self._valid(tenant) if key["rotated_from"]]

    def _valid(self, tenant: str) -> list[dict[str, Any]]:
        listed = self.until(lambda: [self._listed(tenant)], what="a list of keys")[0]
        return [key for key in listed if key["revoked_at"] is None]

    def _listed(self, tenant: str) -> list[Mapping[str, Any]]:
        answer = self._api.get(_KEYS, params={"tenant": tenant}, headers={"X-Admin-Key": ADMIN_KEY})
        assert answer.is_success, f"{answer.status_code} {answer.text[:200]}"
        return list(answer.json()["keys"])

    def _is_let_in(self, key: str) -> bool:
        answer = self._api.get(_KEYS, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED), answer.status_code
        return bool(answer.is_success)
