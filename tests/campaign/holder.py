"""A holder of prefunded sessions: deposits, asks, tops up, asks again, closes and takes the rest, at any number of faults."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.campaign.customer import REQUEST
from tests.campaign.patient import Patient

DEPOSIT_SATS = 200
TOPUP_SATS = 100


class Holder(Patient):
    """Lives sessions of one running stack. Each call has a key, so that a repetition is the same call."""

    def __init__(self, endpoints: Mapping[str, Any], **manner: Any) -> None:
        super().__init__(endpoints, **manner)
        self._macaroons: dict[str, str] = {}

    def live(self, *, requests: int = 2) -> str:
        """Live one session from its deposit to its withdrawal; return its id."""
        session_id = self.open()
        for number in range(requests):
            self.ask(session_id, waits=number % 2 == 0)
        self.top_up(session_id)
        self.ask(session_id, waits=False)
        self.end(session_id)
        return session_id

    def open(self) -> str:
        """Open a session and pay its deposit; return its id once it is active."""
        created = self._call("/api/sessions", {"amount_sats": DEPOSIT_SATS}, wanted=httpx.codes.CREATED)
        session_id = str(created["sessionId"])
        self.pay(created["invoice"]["paymentRequest"])
        self.reach(session_id, lambda shown: shown["state"] == "active", what="a session that is active")
        return session_id

    def ask(self, session_id: str, *, waits: bool) -> None:
        """Have a request done: the call `waits` for its end, or it is asked for."""
        path, text = f"/api/sessions/{session_id}/request", f"{REQUEST} ({uuid.uuid4().hex})"
        wanted = httpx.codes.OK if waits else httpx.codes.ACCEPTED
        placed = self._call(path, {"request": text}, wanted=wanted, session_id=session_id)
        place = f"/api/sessions/{session_id}/requests/{placed['requestId']}"

        def is_done() -> bool:
            answer = self._api.get(place, headers=self._credential(session_id))
            assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
            return bool(answer.json()["state"] == "complete")

        self.until(is_done, what="a request that is complete")

    def top_up(self, session_id: str) -> None:
        """Add to the balance."""
        before = self.reach(session_id, lambda _shown: True, what="a session")["balanceSats"]
        path = f"/api/sessions/{session_id}/topup"
        asked = self._call(path, {"amount_sats": TOPUP_SATS}, wanted=httpx.codes.OK, session_id=session_id)
        self.pay(asked["topup"]["paymentRequest"])
        self.reach(session_id, lambda shown: shown["balanceSats"] == before + TOPUP_SATS, what="a top-up's credit")

    def end(self, session_id: str) -> None:
        """Close the session, or what ended by itself, and have paid out what it has left."""
        shown = self.reach(session_id, lambda _shown: True, what="a session")
        left = int(shown["withdrawableSats"] if shown["state"] == "expired" else shown["balanceSats"])
        self.take(f"/api/sessions/{session_id}/close", left, headers=lambda: self._credential(session_id))
        shown = self.reach(session_id, lambda shown: shown["state"] == "expired", what="a session that has ended")
        assert shown["withdrawableSats"] == 0

    def reach(self, session_id: str, holds: Callable[[dict[str, Any]], bool], *, what: str) -> dict[str, Any]:
        """Look until `holds`."""

        def look() -> dict[str, Any] | None:
            shown = self._look(session_id)
            return shown if holds(shown) else None

        return self.until(look, what=what)

    def create_once(self) -> httpx.Response:
        """Ask for a session once, whatever comes of it. Raises `httpx.HTTPError` where nobody answers."""
        return self._api.post("/api/sessions", json={"amount_sats": DEPOSIT_SATS})

    def _call(
        self, path: str, body: Mapping[str, Any], *, wanted: int, session_id: str | None = None
    ) -> dict[str, Any]:
        key = uuid.uuid4().hex
        prefer = {"Prefer": "respond-async"} if wanted == httpx.codes.ACCEPTED else {}

        def call() -> dict[str, Any] | None:
            headers = {"Idempotency-Key": key, **prefer, **(self._credential(session_id) if session_id else {})}
            answer = self._api.post(path, json=body, headers=headers)
            if answer.status_code == httpx.codes.CONFLICT:
                self._on_conflict(key)
            assert answer.status_code == wanted, f"{answer.status_code} {answer.text[:200]}"
            return dict(answer.json())

        return self.until(call, what=f"an answer {wanted} of {path.rpartition('/')[2]}")

    def _look(self, session_id: str) -> dict[str, Any]:
        answer = self._api.get(f"/api/sessions/{session_id}")
        assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:200]}"
        return dict(answer.json())

    def _credential(self, session_id: str) -> dict[str, str]:
        """Return the macaroon of the moment, for root keys change; once nothing can be taken out, the last one that was told."""
        shown = self._look(session_id)
        macaroon = self._macaroons[session_id] = shown.get("macaroon") or self._macaroons[session_id]
        return {"Authorization": f"Bearer {macaroon}"}
