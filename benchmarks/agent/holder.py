"""The holder of a prefunded session: deposits, asks, and takes the rest home."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import DictRow

from benchmarks.customer import PATIENCE_S, REQUEST, Payer, WentWrong, hear
from benchmarks.ground import Ground
from benchmarks.http_load import Answer, Line

LONGEST_S = 300.0
_ROW = "SELECT id, state FROM sessions WHERE public_id = %(id)s"


@dataclass(frozen=True)
class Opened:
    """A session that can be asked: its row, its address, the header that spends it; how long its steps took, in seconds.

    `asked_s`: until the invoice was there. `paid_s`: the wallet's call. `active_s`: from its success until the session was active.
    """

    row_id: int
    public_id: str
    macaroon: str
    asked_s: float
    paid_s: float
    active_s: float

    @property
    def path(self) -> str:
        """Where its calls go."""
        return f"/api/sessions/{self.public_id}"

    @property
    def credential(self) -> dict[str, str]:
        """The header that spends its balance."""
        return {"Authorization": f"Bearer {self.macaroon}"}


class Holder:
    """One thread's own, with a connection to the service and one to the wallet. `rows` may be shared. A context manager."""

    def __init__(self, ground: Ground, rows: psycopg.Connection[DictRow]) -> None:
        self._ground = ground
        self._rows = rows
        self._api = Line(ground.web, timeout_s=LONGEST_S)
        self._payer = Payer(ground)
        self._opened: Opened | None = None
        self._balance_sats = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.__exit__(kind, error, trace)
        self._payer.close()

    @property
    def session(self) -> Opened:
        """The session. Raises `WentWrong` before there is one."""
        if self._opened is None:
            raise WentWrong("there is no session yet")
        return self._opened

    def open(self, sats: int) -> Opened:
        """Open a session, pay its deposit, wait until it is active and fetch its macaroon."""
        asked = self._api.post("/api/sessions", {"amount_sats": sats})
        public_id = str(asked.body["sessionId"])
        row_id = int(self._row(public_id)["id"])
        with self._ground.announcements.of_session(row_id) as arrivals:
            began = self._ground.clock.monotonic()
            self._payer.pay(asked.body["invoice"]["paymentRequest"])
            paid = self._ground.clock.monotonic()
            while self._row(public_id)["state"] != "active":
                hear(arrivals)
                if self._ground.clock.monotonic() > paid + PATIENCE_S:
                    raise WentWrong(f"session {row_id} was paid and is not active")
            active_s = self._ground.clock.monotonic() - paid
        shown = self._api.get(f"/api/sessions/{public_id}").body
        self._balance_sats = int(shown["balanceSats"])
        self._opened = Opened(row_id, public_id, shown["macaroon"], asked.took_s, paid - began, active_s)
        return self._opened

    def ask(self) -> Answer:
        """Have one request done and wait for its result. Raises `WentWrong` where it ends otherwise."""
        answer = self._api.post(f"{self.session.path}/request", {"request": REQUEST}, self.session.credential)
        shown = answer.body
        if shown["state"] != "complete":
            raise WentWrong(f"a request of session {self.session.row_id} is {shown['state']}")
        self._balance_sats = int(shown["balanceRemaining"])
        return answer

    def close(self) -> float:
        """Close the session with an invoice for all that is left; return how long it took until that was paid, in seconds."""
        body = {"invoice": self._payer.invoice(self._balance_sats)} if self._balance_sats else {}
        began = self._ground.clock.monotonic()
        while not self._closed(body)["ok"]:
            if self._ground.clock.monotonic() > began + PATIENCE_S:
                raise WentWrong(f"session {self.session.row_id} was closed and not paid out")
        return self._ground.clock.monotonic() - began

    def _closed(self, body: dict[str, str]) -> dict[str, Any]:
        return self._api.post(f"{self.session.path}/close", body, self.session.credential).body

    def _row(self, public_id: str) -> dict[str, Any]:
        found = self._rows.execute(_ROW, {"id": public_id}).fetchone()
        if found is None:
            raise WentWrong("a session that must exist does not")
        return found
