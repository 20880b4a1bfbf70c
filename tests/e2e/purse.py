"""A prefunded session from its holder's side, and what the tables say of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx

from tests.e2e.market import Market
from tests.e2e.patience import eventually


@dataclass(frozen=True)
class Balance:
    """The money of one session, millisatoshi. `owed` by reason, open debts alone."""

    received: int
    held: int
    reserved: int
    earned: int
    owed: Mapping[str, int]


@dataclass(frozen=True)
class Purse:
    """One session and its holder."""

    market: Market
    id: str
    deposit_request: str

    # -- over HTTP

    def look(self) -> dict[str, Any]:
        """Return the session as the API shows it."""
        answer = self.market.api.get(f"/api/sessions/{self.id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        shown: dict[str, Any] = answer.json()
        assert shown["sessionId"] == self.id
        return shown

    def reach(self, state: str, *, within_s: float = 20.0) -> dict[str, Any]:
        """Ask until the session is in `state`; return it."""

        def arrived() -> dict[str, Any] | None:
            shown = self.look()
            return shown if shown["state"] == state else None

        return eventually(arrived, what=f"a session that is {state}", within_s=within_s)

    def reach_unasked(self, state: str, *, within_s: float = 30.0) -> None:
        """Wait until the session is in `state` without asking the service, so that no GET nudges it."""
        eventually(lambda: self.state == state, what=f"a session that is {state}, unasked", within_s=within_s)

    def pay_deposit(self) -> None:
        """Pay the deposit's invoice."""
        self.market.wallet.pay(self.deposit_request)

    @cached_property
    def credential(self) -> dict[str, str]:
        """The header that spends the balance."""
        return {"Authorization": f"Bearer {self.look()['macaroon']}"}

    def ask(self, text: str = "Say something short.", **headers: str) -> httpx.Response:
        """Have a request done; its text is unique, so that a fault may be aimed at it."""
        return self.post("request", {"request": f"{text} ({uuid.uuid4().hex})"}, **headers)

    def post(self, call: str, body: Any, **headers: str) -> httpx.Response:
        """Make any call with the session's credential."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.market.api.post(f"/api/sessions/{self.id}/{call}", json=body, headers={**self.credential, **named})

    def top_up(self, amount_sats: int = 100) -> str:
        """Ask for a top-up; return its payment request."""
        answer = self.post("topup", {"amount_sats": amount_sats})
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["topup"]["paymentRequest"])

    def close(self, amount_sats: int | None) -> httpx.Response:
        """Close with an invoice of the wallet for so many sats; None: without an invoice."""
        return self.post("close", {} if amount_sats is None else self.close_body(amount_sats))

    def close_body(self, amount_sats: int) -> dict[str, str]:
        """Return the body that has so many sats paid to the wallet."""
        return {"invoice": self.market.wallet.invoice(amount_sats)["payment_request"]}

    # -- in the tables

    @property
    def row_id(self) -> int:
        """The session's internal number."""
        return int(self.market.ledger.one("SELECT id FROM sessions WHERE public_id = %(id)s", id=self.id))

    @property
    def state(self) -> str:
        """The session's state without asking the service."""
        return str(self.market.ledger.one("SELECT state FROM sessions WHERE public_id = %(id)s", id=self.id))

    @property
    def moves(self) -> list[str]:
        """The states that the session went through, in order."""
        rows = self.market.ledger.rows(
            "SELECT to_state FROM events WHERE owner_kind = 'session' AND owner_id = %(id)s AND to_state IS NOT NULL ORDER BY seq",
            id=self.row_id,
        )
        return [row["to_state"] for row in rows]

    @property
    def balance(self) -> Balance:
        """The session's money."""
        rows = self.market.ledger.rows(
            """
            WITH booked AS (
              SELECT kind, account, -amount_msat AS msat FROM postings JOIN entries ON entries.id = entry_id
               WHERE owner_kind = 'session' AND owner_id = %(id)s)
            SELECT (SELECT coalesce(sum(msat), 0) FROM booked WHERE account = 'customer' AND kind = 'receive')::bigint AS received,
                   (SELECT coalesce(sum(msat), 0) FROM booked WHERE account = 'customer')::bigint AS held,
                   (SELECT -coalesce(sum(msat), 0) FROM booked WHERE account = 'customer' AND kind = 'earn')::bigint AS earned,
                   (SELECT coalesce(sum(amount_msat), 0) FROM reservations
                     WHERE owner_kind = 'session' AND owner_id = %(id)s AND state = 'open')::bigint AS reserved,
                   (SELECT coalesce(jsonb_object_agg(reason, msat), '{}') FROM (
                      SELECT reason, sum(amount_msat)::bigint AS msat FROM debts
                       WHERE owner_kind = 'session' AND owner_id = %(id)s AND state = 'open' GROUP BY reason) AS open) AS owed""",
            id=self.row_id,
        )
        return Balance(**rows[0])

    def requests(self) -> list[dict[str, Any]]:
        """The session's request rows, oldest first."""
        return self.market.ledger.rows(
            "SELECT * FROM session_requests WHERE session_id = %(id)s ORDER BY id", id=self.row_id
        )

    def receipts(self) -> list[dict[str, Any]]:
        """The bodies of its requests' receipts, oldest first."""
        rows = self.market.ledger.rows(
            "SELECT body FROM receipts JOIN session_requests ON owner_kind = 'request' AND owner_id = session_requests.id"
            " WHERE session_id = %(id)s ORDER BY receipts.id",
            id=self.row_id,
        )
        return [json.loads(row["body"]) for row in rows]

    def payment_hash(self, purpose: str) -> str:
        """Return the payment hash of the session's newest invoice for `deposit` or `topup`, in hex."""
        found = self.market.ledger.one(
            "SELECT payment_hash FROM invoices WHERE owner_kind = 'session' AND owner_id = %(id)s AND purpose = %(purpose)s"
            " ORDER BY id DESC LIMIT 1",
            id=self.row_id,
            purpose=purpose,
        )
        return bytes(found).hex()


def new_purse(market: Market, amount_sats: int = 100) -> Purse:
    """Open a session; its deposit is not paid yet."""
    answer = market.api.post("/api/sessions", json={"amount_sats": amount_sats})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    created = answer.json()
    assert created["state"] == "awaiting_payment"
    assert created["invoice"]["amountSats"] == amount_sats
    return Purse(market, created["sessionId"], created["invoice"]["paymentRequest"])


def funded_purse(market: Market, amount_sats: int = 100) -> Purse:
    """Open a session and pay its deposit."""
    purse = new_purse(market, amount_sats)
    purse.pay_deposit()
    purse.reach("active")
    return purse
