"""The addresses of prefunded sessions. Their calls answer in the order of `docs/supersets.md`: credential, state, body, balance."""

from __future__ import annotations

from typing import Any, cast

from flask import Response, g, make_response, request

from shared.agent.sessions.closing import require_unbounded
from shared.agent.sessions.model import Closed, RequestView, StillRunning
from shared.agent.sessions.orders import require_usable
from shared.agent.sessions.service import Admitted, require_open
from web import problems
from web.agent.credentials import credential
from web.agent.proof import offered_proof
from web.agent.refunds import payout_shown
from web.agent.session_schemas import (
    CloseSessionRequestSchema,
    CloseSessionResponseSchema,
    CreateSessionRequestSchema,
    CreateSessionResponseSchema,
    InsufficientBalanceSchema,
    SessionRequestBodySchema,
    SessionRequestListSchema,
    SessionRequestPageSchema,
    SessionRequestResponseSchema,
    SessionRequestStatusSchema,
    SessionStatusResponseSchema,
    TopupSessionResponseSchema,
)
from web.agent.session_views import request_status, session_created, session_status, topup_asked
from web.context import container
from web.door import Answers, Guard, Operations
from web.idempotency import caller_address, key_claim
from web.prefer import APPLIED, prefers_async

SCHEME = "sessionMacaroon"
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "Session macaroon issued when a session activates. Pass as `Authorization: Bearer <macaroon>`.",
}
NOTHING_WAS_LEFT = "The session is closed; nothing was left to pay out."

operations = Operations("sessions", __name__, description="Pay once, ask often", url_prefix="/api")


# -- who calls, and whether the session's state allows the call


def _admit(id: str, **_: str) -> str:  # noqa: A002 - the contract's parameter
    """Let the holder of the session's macaroon in. Raises `Unauthorized`."""
    token, preimage = credential(request)
    admitted = container().sessions.admit(
        token, public_id=id, path=request.path, now=container().clock.now(), preimage=preimage
    )
    g.admitted = admitted
    return f"session {admitted.session.id}"


def _admitted() -> Admitted:
    return cast("Admitted", g.admitted)


def _usable(**_: str) -> None:
    """Refuse in the session's state, unless the key names a request that is there to be told about."""
    claim = key_claim()
    if claim is None or claim.made is None:
        require_usable(_admitted().session)


def _open(**_: str) -> None:
    claim = key_claim()
    if claim is None or claim.made is None:
        require_open(_admitted().session)


def _admit_to_all(id: str, **_: str) -> str:  # noqa: A002
    """Let in whom no caveat bounds to so much a call: what is left may be more."""
    holder = _admit(id)
    require_unbounded(_admitted().grant)
    return holder


_HOLDER = Guard(SCHEME, _admit)
_HOLDER_OF_ALL = Guard(SCHEME, _admit_to_all)
_HOLDER_OF_A_USABLE_ONE = Guard(SCHEME, _admit, _usable)
_HOLDER_OF_AN_OPEN_ONE = Guard(SCHEME, _admit, _open)


# -- the addresses


@operations.post(
    "/sessions",
    "createSession",
    Answers(CreateSessionResponseSchema, 201, (400, 429, 500)),
    body=CreateSessionRequestSchema,
)
def create_session(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Open a session and ask for its deposit

    The invoice is ready to pay. Past the deadline the answer is 500 with Retry-After, and nothing was created that could be paid.
    """
    sessions = container().sessions
    view = sessions.create(body["amount_sats"], address=caller_address(), claim=key_claim())
    shown = session_created(view, claim_token=sessions.claim_token(view.session), is_sandbox=_is_sandbox())
    return shown, 201, {"Location": f"/api/sessions/{view.session.public_id}"}


@operations.get("/sessions/<id>", "getSession", Answers(SessionStatusResponseSchema, errors=(404, 500)))
def get_session(id: str) -> dict[str, Any]:  # noqa: A002
    """Get a session as it stands, with its macaroon

    A session moves by itself; asking about one that waits for a payment has the node asked at once.
    """
    view = container().sessions.get(id, proof=offered_proof())
    minimum_sats = container().settings.session_minimum_sats
    return session_status(view, minimum_sats=minimum_sats, is_sandbox=_is_sandbox())


@operations.post(
    "/sessions/<id>/request",
    "submitSessionRequest",
    Answers(
        SessionRequestResponseSchema,
        errors=(400, 401, 410, 500),
        also={202: SessionRequestStatusSchema, 402: InsufficientBalanceSchema},
    ),
    body=SessionRequestBodySchema,
    guard=_HOLDER_OF_A_USABLE_ONE,
)
def submit_session_request(body: dict[str, Any], id: str) -> Any:  # noqa: A002
    """Have a request done on the session's balance

    The most that it can cost is set aside, what it did cost is debited. Waits for the end; with `Prefer: respond-async` the answer
    is 202 with the request's address at once. Whoever leaves does not stop it.
    """
    admitted, is_async = _admitted(), prefers_async()
    try:
        view = container().sessions.request(
            admitted.session.id,
            body["request"],
            max_sats=admitted.grant.max_sats,
            claim=key_claim(),
            wait=not is_async,
        )
    except StillRunning as error:
        response = problems.answer(error)
        response.headers["Location"] = _place(id, error.request_id)
        return response
    return _placed(id, view) if is_async else request_status(view)


@operations.post(
    "/sessions/<id>/topup",
    "topupSession",
    Answers(TopupSessionResponseSchema, errors=(400, 401, 500)),
    body=CreateSessionRequestSchema,
    guard=_HOLDER_OF_AN_OPEN_ONE,
)
def topup_session(body: dict[str, Any], id: str) -> dict[str, Any]:  # noqa: A002, ARG001 - the guard has used it
    """Ask for more money for the session

    One top-up at a time. Paying it resumes a paused session. Past the deadline the answer is 500 with Retry-After, and nothing can
    be paid.
    """
    session = _admitted().session
    invoice = container().sessions.topup(session.id, body["amount_sats"], claim=key_claim())
    return topup_asked(session, invoice, is_sandbox=_is_sandbox())


@operations.post(
    "/sessions/<id>/close",
    "closeSession",
    Answers(CloseSessionResponseSchema, errors=(400, 401, 500)),
    body=CloseSessionRequestSchema,
    guard=_HOLDER_OF_ALL,
)
def close_session(body: dict[str, Any], id: str) -> dict[str, Any]:  # noqa: A002, ARG001
    """End the session and take out what is left

    The invoice must ask for exactly the whole sats that are left; without any left none is needed. On a session that has ended it
    pays what is still owed. The same invoice again tells how its payment stands. Routing fees are ours.
    """
    return closed_shown(container().sessions.close(_admitted().session.id, body.get("invoice")))


@operations.get(
    "/sessions/<id>/requests",
    "listSessionRequests",
    Answers(SessionRequestListSchema, errors=(401, 404, 500)),
    query=SessionRequestPageSchema,
    guard=_HOLDER,
)
def list_session_requests(query: dict[str, Any], id: str) -> dict[str, Any]:  # noqa: A002
    """List the session's requests, newest first"""
    most = query["limit"]
    found = container().sessions.requests(_admitted().session.id, before=query.get("before"), most=most)
    shown: dict[str, Any] = {"sessionId": id, "requests": [request_status(view) for view in found]}
    return {**shown, "nextBefore": found[-1].request.public_id} if len(found) == most else shown


@operations.get(
    "/sessions/<id>/requests/<request_id>",
    "getSessionRequest",
    Answers(SessionRequestStatusSchema, errors=(401, 404, 500)),
    guard=_HOLDER,
)
def get_session_request(id: str, request_id: str) -> dict[str, Any]:  # noqa: A002, ARG001
    """Get one request of the session as it stands"""
    return request_status(container().sessions.look(_admitted().session.id, request_id))


# -- answers


def _placed(session_id: str, view: RequestView) -> Response:
    place = {"Location": _place(session_id, view.request.public_id)}
    return make_response(request_status(view), 202, {**place, **APPLIED})


def _place(session_id: str, request_id: str) -> str:
    return f"/api/sessions/{session_id}/requests/{request_id}"


def closed_shown(closed: Closed) -> dict[str, Any]:
    """Tell how the payout stands. Raises `PaymentFailed`."""
    shown: dict[str, Any] = {"sessionId": closed.session.public_id, "state": str(closed.session.state)}
    if closed.payout is None:
        return {**shown, "ok": True, "refundAmountSats": 0, "message": NOTHING_WAS_LEFT}
    return {**shown, **payout_shown(closed.payout)}


def _is_sandbox() -> bool:
    return not container().settings.is_production
