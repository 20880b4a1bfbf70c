"""Sessions and their requests in SQL."""

from __future__ import annotations

from shared.agent.sessions.model import (
    NOTHING,
    REQUEST_ENDED,
    Outcome,
    Quoted,
    RequestState,
    Session,
    SessionRequest,
    SessionState,
)
from shared.db.model import Queries
from shared.db.service import Row, Tx
from shared.kernel.errors import TransitionConflict

SQL = Queries.beside(__file__)


def insert_session(tx: Tx, *, public_id: str, address_hash: bytes, deposit_msat: int, life_s: float) -> Session:
    """Insert a session that awaits its deposit for `life_s` seconds."""
    parameters = {
        "public_id": public_id,
        "address_hash": address_hash,
        "deposit_msat": deposit_msat,
        "life_s": life_s,
    }
    row = tx.one(SQL["insert_session"], parameters)
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _session(row)


def session(tx: Tx, session_id: int) -> Session | None:
    """Return one session."""
    return _maybe_session(tx.one(SQL["session"], {"id": session_id}))


def session_by_public_id(tx: Tx, public_id: str) -> Session | None:
    """Return the session with this public id."""
    return _maybe_session(tx.one(SQL["session_by_public_id"], {"public_id": public_id}))


def lock_session(tx: Tx, session_id: int) -> Session | None:
    """Return one session and hold its row lock until the transaction ends."""
    return _maybe_session(tx.one(SQL["lock_session"], {"id": session_id}))


def balance(tx: Tx, session_id: int) -> tuple[int, int]:
    """Return what a session holds and what of it is reserved, both millisatoshi, of one moment and without its lock."""
    row = tx.one(SQL["balance"], {"id": session_id})
    assert row is not None  # noqa: S101 - a SELECT of two sums always answers
    return row["held_msat"], row["reserved_msat"]


def move_session(
    tx: Tx, session_id: int, *, from_state: SessionState, to_state: SessionState, idle_s: float, closes: bool
) -> None:
    """Move by compare-and-set; a session that becomes active has `idle_s` seconds from now. Raises `TransitionConflict`."""
    parameters = {
        "id": session_id,
        "from_state": from_state,
        "to_state": to_state,
        "activates": to_state is SessionState.ACTIVE,
        "ends": to_state is SessionState.EXPIRED,
        "idle_s": idle_s,
        "closes": closes,
    }
    if tx.run(SQL["move_session"], parameters) != 1:
        raise TransitionConflict(f"the session is no longer {from_state}")


def slide_session(tx: Tx, session_id: int, *, idle_s: float) -> None:
    """Give a session that is used `idle_s` more seconds from now."""
    tx.run(SQL["slide_session"], {"id": session_id, "idle_s": idle_s})


def take_idle(tx: Tx) -> list[Session]:
    """Return and lock up to 100 sessions that have been idle too long; what another transaction holds is left out."""
    return [_session(row) for row in tx.all(SQL["take_idle"])]


def insert_request(tx: Tx, session_id: int, *, public_id: str, request: str, quoted: Quoted) -> SessionRequest:
    """Insert a request that is to be judged."""
    row = tx.one(
        SQL["insert_request"],
        {
            "public_id": public_id,
            "session_id": session_id,
            "request": request,
            "reserved_msat": quoted.reserved_msat,
            "btc_price_usd": quoted.btc_price_usd,
            "price_source": quoted.price_source,
            "margin_pct": quoted.margin_pct,
        },
    )
    assert row is not None  # noqa: S101 - INSERT … RETURNING always answers
    return _request(row)


def request(tx: Tx, request_id: int) -> SessionRequest | None:
    """Return one request."""
    return _maybe_request(tx.one(SQL["request"], {"id": request_id}))


def request_by_public_id(tx: Tx, session_id: int, public_id: str) -> SessionRequest | None:
    """Return the request with this public id, if it is this session's."""
    return _maybe_request(tx.one(SQL["request_by_public_id"], {"session_id": session_id, "public_id": public_id}))


def requests_of(tx: Tx, session_id: int, *, before: int | None, most: int) -> list[SessionRequest]:
    """Return up to `most` requests of a session, newest first, older than number `before`."""
    parameters = {"session_id": session_id, "before": before, "most": most}
    return [_request(row) for row in tx.all(SQL["requests_of"], parameters)]


def record_judgement(tx: Tx, request_id: int, *, reason: str, tokens_in: int, tokens_out: int) -> None:
    """Store what the evaluation said and used."""
    parameters = {"id": request_id, "reason": reason, "tokens_in": tokens_in, "tokens_out": tokens_out}
    tx.run(SQL["record_judgement"], parameters)


def move_request(
    tx: Tx, request_id: int, *, from_state: RequestState, to_state: RequestState, outcome: Outcome = NOTHING
) -> None:
    """Move by compare-and-set and store what an end says. Raises `TransitionConflict`."""
    parameters = {
        "id": request_id,
        "from_state": from_state,
        "to_state": to_state,
        "ends": to_state in REQUEST_ENDED,
        "result": outcome.result,
        "error_message": outcome.error_message,
        "tokens_in": outcome.tokens_in,
        "tokens_out": outcome.tokens_out,
        "eval_msat": outcome.eval_msat,
        "work_msat": outcome.work_msat,
    }
    if tx.run(SQL["move_request"], parameters) != 1:
        raise TransitionConflict(f"the request is no longer {from_state}")


def _maybe_session(row: Row | None) -> Session | None:
    return None if row is None else _session(row)


def _session(row: Row) -> Session:
    return Session(
        id=row["id"],
        public_id=row["public_id"],
        state=SessionState(row["state"]),
        deposit_msat=row["deposit_msat"],
        closed=row["closed"],
        created_at=row["created_at"],
        activated_at=row["activated_at"],
        expires_at=row["expires_at"],
        ended_at=row["ended_at"],
    )


def _maybe_request(row: Row | None) -> SessionRequest | None:
    return None if row is None else _request(row)


def _request(row: Row) -> SessionRequest:
    return SessionRequest(
        id=row["id"],
        public_id=row["public_id"],
        session_id=row["session_id"],
        state=RequestState(row["state"]),
        request=row["request"],
        reserved_msat=row["reserved_msat"],
        btc_price_usd=row["btc_price_usd"],
        margin_pct=row["margin_pct"],
        reason=row["reason"],
        result=row["result"],
        error_message=row["error_message"],
        eval_tokens_in=row["eval_tokens_in"],
        eval_tokens_out=row["eval_tokens_out"],
        eval_msat=row["eval_msat"],
        work_msat=row["work_msat"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )
