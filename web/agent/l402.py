"""Pay with the call itself: L402. Addresses of their own, so that the contract's never change their answers.

One challenge line in the form that every client we know of parses: `macaroon` and `invoice` first and in this order, then the
names of the specification of 2026, `token` and `version`.
"""

from __future__ import annotations

from typing import Any, cast

from flask import Response, g, make_response, request

from shared.access.model import Grant
from shared.agent.l402 import Call, Challenge, Offered
from shared.agent.model import ENDED, JOB, JobState, JobView
from shared.agent.sessions.model import RequestView, StillRunning
from shared.kernel.errors import Unauthorized
from web import problems
from web.agent.credentials import has_credential, l402_credential
from web.agent.l402_schemas import ChallengeSchema, L402RequestBodySchema
from web.agent.schemas import CreateJobRequestSchema, JobStatusResponseSchema
from web.agent.session_schemas import (
    CloseSessionRequestSchema,
    CloseSessionResponseSchema,
    SessionRequestResponseSchema,
    SessionRequestStatusSchema,
)
from web.agent.session_views import request_status
from web.agent.sessions import closed_shown
from web.agent.views import invoice_shown, job_status
from web.context import container
from web.door import Answers, Guard, Operations
from web.idempotency import caller_address, key_claim
from web.prefer import APPLIED, prefers_async

SCHEME = "l402"
SECURITY_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "`L402 <macaroon>:<preimage>`, both from paying the challenge of a 402; LSAT is the same.",
}

operations = Operations("l402", __name__, description="Pay with the call itself: L402", url_prefix="/api")


# -- who calls


def _admit(**_: str) -> str:
    """Take the credential, if there is one; what it paid for holds the Idempotency-Key. Raises `Unauthorized`."""
    g.l402_grant = None
    if not has_credential(request):
        return caller_address()
    token, preimage = l402_credential(request)
    g.l402_grant = grant = container().l402_till.taken(Offered(token, preimage), request.path)
    return caller_address() if grant is None else f"{grant.subject} {grant.subject_id}"


def _admit_payer(**_: str) -> str:
    holder = _admit()
    if _grant() is None:
        raise Unauthorized("this address needs Authorization: L402 <macaroon>:<preimage in hex>")
    return holder


def _grant() -> Grant | None:
    return cast("Grant | None", g.l402_grant)


_ANYBODY = Guard(SCHEME, _admit)
_PAYER = Guard(SCHEME, _admit_payer)


# -- the addresses


@operations.post(
    "/l402/jobs",
    "buyJob",
    Answers(
        JobStatusResponseSchema,
        errors=(400, 401, 429, 500),
        also={202: JobStatusResponseSchema, 402: ChallengeSchema},
    ),
    body=CreateJobRequestSchema,
    guard=_ANYBODY,
)
def buy_job(body: dict[str, Any]) -> Response:
    """Buy a job in one payment

    Without a credential: 402 with an invoice for evaluation and work together, and a macaroon. Repeat the call with
    `Authorization: L402 <macaroon>:<preimage>`: the answer is the job's end, the same however often it is asked for. What the
    work did not use is owed back, and so is what failed (500, `job_failed`): claim it as any job's refund.
    """
    bought = container().l402_jobs.buy(body["request"], _call())
    return _challenge(bought) if isinstance(bought, Challenge) else _job(bought)


@operations.post(
    "/l402/requests",
    "buyRequest",
    Answers(
        SessionRequestResponseSchema,
        errors=(400, 401, 429, 500),
        also={202: SessionRequestStatusSchema, 402: ChallengeSchema},
    ),
    body=L402RequestBodySchema,
    guard=_ANYBODY,
)
def buy_request(body: dict[str, Any]) -> Response:
    """Buy requests out of one deposit

    Without a credential: 402 with the invoice of a session's deposit, `amount_sats` or the operator's usual one. With it each call
    is a request on that session; once its balance does not suffice, 402 asks for a top-up.
    """
    is_async = prefers_async()
    try:
        bought = container().l402_requests.buy(body["request"], _call(), amount_sats=body.get("amount_sats"))
    except StillRunning as error:
        response = problems.answer(error)
        response.headers["Location"] = _place(error.request_id)
        return response
    if isinstance(bought, Challenge):
        return _challenge(bought)
    return _request(bought, is_async=is_async)


@operations.get(
    "/l402/requests/<request_id>",
    "getBoughtRequest",
    Answers(SessionRequestStatusSchema, errors=(401, 404, 500)),
    guard=_PAYER,
)
def get_bought_request(request_id: str) -> dict[str, Any]:
    """Get a request that the credential's session has paid for, as it stands"""
    return request_status(container().l402_requests.look(request_id, cast("Grant", _grant())))


@operations.post(
    "/l402/close",
    "closeBoughtSession",
    Answers(CloseSessionResponseSchema, errors=(400, 401, 500)),
    body=CloseSessionRequestSchema,
    guard=_PAYER,
)
def close_bought_session(body: dict[str, Any]) -> dict[str, Any]:
    """End the session that the credential's deposit opened and take out what is left

    As closeSession, for whoever kept nothing but his credential. One with `max_sats` cannot.
    """
    return closed_shown(container().l402_requests.close(cast("Grant", _grant()), body.get("invoice")))


# -- answers


def _call() -> Call:
    return Call(address=caller_address(), grant=_grant(), claim=key_claim(), wait=not prefers_async())


def _challenge(challenge: Challenge) -> Response:
    macaroon, invoice = challenge.macaroon, challenge.invoice
    line = f'L402 macaroon="{macaroon}", invoice="{invoice.payment_request}", token="{macaroon}", version="0"'
    members = {**(invoice_shown(invoice) or {}), "macaroon": macaroon}
    if challenge.subject_id is not None:
        members["jobId" if challenge.subject == JOB else "sessionId"] = challenge.subject_id
    problem = problems.Problem(402, challenge.code, challenge.message, headers={"WWW-Authenticate": line})
    return problems.response_to(problem, members=members)


def _job(view: JobView) -> Response:
    shown, place = job_status(view), f"/api/jobs/{view.job.public_id}"
    if view.job.state is JobState.FAILED:
        message = f"{view.job.error_message} This credential always gets this answer; POST {place}/refund pays back."
        return problems.response_to(problems.Problem(500, "job_failed", message), members=shown)
    if view.job.state in ENDED:
        return make_response(shown, 200)
    return make_response(shown, 202, {"Location": place, **(APPLIED if prefers_async() else {})})


def _request(view: RequestView, *, is_async: bool) -> Response:
    if not is_async:
        return make_response(request_status(view), 200)
    return make_response(request_status(view), 202, {"Location": _place(view.request.public_id), **APPLIED})


def _place(request_id: str) -> str:
    return f"/api/l402/requests/{request_id}"
