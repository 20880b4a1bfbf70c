"""What an operator watches of sessions: how many there are, what runs in them, and money that an ended one still holds."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agent.sessions.model import REQUEST_ENDED, SESSION, RequestState, SessionState
from shared.db.model import Queries
from shared.db.service import Tx
from shared.ledger import gauges as ledger_gauges

SQL = Queries.beside(__file__)


@dataclass(frozen=True)
class SessionGauges:
    """Sessions by state, running requests by state, and two ages in seconds.

    `request_age_s`: of the oldest running request. `overdue_s`: since the oldest idle session should have ended.
    """

    sessions: dict[SessionState, int]
    requests: dict[RequestState, int]
    request_age_s: float
    overdue_s: float


def gauges(tx: Tx) -> SessionGauges:
    """Read the present figures; states without rows read 0."""
    sessions = {SessionState(row["state"]): row["sessions"] for row in tx.all(SQL["sessions_by_state"])}
    running = {RequestState(row["state"]): row for row in tx.all(SQL["requests_running"])}
    return SessionGauges(
        sessions={state: sessions.get(state, 0) for state in SessionState},
        requests={
            state: running[state]["requests"] if state in running else 0
            for state in RequestState
            if state not in REQUEST_ENDED
        },
        request_age_s=max((row["oldest_s"] for row in running.values()), default=0.0),
        overdue_s=tx.all(SQL["overdue_sessions"])[0]["overdue_s"],
    )


def ended_holders(tx: Tx) -> list[int]:
    """Return the row ids of ended sessions that still hold a customer balance: money neither earned nor owed back."""
    return [row["id"] for row in tx.all(SQL["ended_among"], {"ids": ledger_gauges.holders(tx, SESSION)})]
