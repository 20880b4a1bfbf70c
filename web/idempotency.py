"""The `Idempotency-Key` header on POST: the same key and body get the same answer for 24 hours.

A key belongs to its operation and its caller (his address, where there is no credential): an answer can hold an id that is
a key to money, so nobody else may have it replayed.

A claim token is not kept with an answer, but derived anew when that is said again: who reads the table can claim nothing.

What makes something hands `key_claim()` to the service, which has the key name what it made: a process may then die before
its answer is kept, and the repeated request finds the same thing. So it is with streams, whose chunks are kept with their run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, cast

import structlog
from flask import Response, current_app, g, request

from shared.agent.refunds import WRONG_AMOUNT
from shared.idempotency.model import Answer, Claim, KeyRef
from shared.idempotency.service import is_kept
from shared.kernel.derive import derive
from shared.kernel.errors import Unavailable
from web import problems
from web.address import client_address
from web.context import edge

log = structlog.get_logger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
_KEPT_HEADERS = ("Location", "Content-Type")
_OF_THE_STATE = frozenset({WRONG_AMOUNT})
"""Codes of 400s that the state of things decides: the same request may meet another answer, and is to be judged anew."""

View = Callable[..., Any]


def idempotent(view: View) -> View:
    """Let `view` honour the header."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if HEADER not in request.headers:
            return view(*args, **kwargs)
        begun = edge().idempotency.begin(_ref(), fingerprint=_fingerprint())
        if isinstance(begun, Answer):
            return _replay(begun)
        g.key_claim = begun
        return _answer_once(begun, lambda: view(*args, **kwargs))

    return guarded


def key_claim() -> Claim | None:
    """Return the claim that this request holds on its key; None where it came without one."""
    return cast("Claim | None", g.get("key_claim"))


def belongs_to(holder: str) -> None:
    """Have this request's key belong to the holder of a credential, whichever of his credentials he shows."""
    g.key_holder = holder


def keep_no_answer() -> None:
    """Have a repetition under this request's key answered anew: what is said now will not stay true."""
    g.keep_no_answer = True


def tell_once(member: str) -> None:
    """Have `member` of this answer, a secret, kept nowhere: a repetition under this request's key is told the rest."""
    g.told_once = member


def caller_address() -> str:
    """Return the address that this request's limits and keys count for."""
    return client_address(request, trusted_proxies=edge().container.settings.trusted_proxies)


def _answer_once(claim: Claim, call: Callable[[], Any]) -> Response:
    try:
        response = current_app.make_response(call())
    except Exception as error:  # noqa: BLE001 - every fault has an answer, and the answer decides whether the key is freed
        if getattr(error, "code", None) in _OF_THE_STATE:
            keep_no_answer()
        response = problems.answer(error)
    if response.is_streamed:
        return _streamed_once(claim, response)
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    answer = Answer(response.status_code, {**_without_token(response), "headers": kept})
    try:
        is_about_before = edge().idempotency.finish(claim, None if g.get("keep_no_answer") else answer)
        if is_about_before and is_kept(response.status_code):
            response.headers[REPLAYED] = "true"
    except Unavailable as error:  # the work is done and its answer is true, whether or not we can repeat it
        log.warning("answer_not_kept", error=type(error).__name__)
    return response


def _streamed_once(claim: Claim, response: Response) -> Response:
    """Leave the key with what was made under it, which keeps the stream itself: nothing of it is read here, nor kept twice."""
    if claim.made is not None:
        response.headers[REPLAYED] = "true"
    return response


def _replay(answer: Answer) -> Response:
    text = _with_token(answer.body)
    response = current_app.response_class(text, status=answer.status, headers=answer.body["headers"])
    response.headers[REPLAYED] = "true"
    return response


def _without_token(response: Response) -> dict[str, Any]:
    """Return the answer's text as it is kept: without its claim token, and then with its place and whose it is.

    Without what is told only once, too.
    """
    text = response.get_data(as_text=True)
    told = json.loads(text) if response.status_code == HTTPStatus.CREATED and response.is_json else {}
    if (secret := g.get("told_once")) in told:
        return {"text": current_app.json.dumps({name: told[name] for name in told if name != secret}) + "\n"}
    if "claimToken" not in told:
        return {"text": text}
    before, _, after = text.partition(told["claimToken"])
    return {"text": before + after, "token_at": len(before), "token_of": told.get("jobId") or told["sessionId"]}


def _with_token(kept: dict[str, Any]) -> str:
    text, at = str(kept["text"]), kept.get("token_at")
    if at is None:
        return text
    return text[:at] + edge().container.claims.token(kept["token_of"]) + text[at:]


def _ref() -> KeyRef:
    caller = g.get("key_holder") or request.headers.get("Authorization") or caller_address()
    named = f"{request.method} {request.path} {caller}"  # the path may hold an id that is a key to money, and so may a credential
    return KeyRef(
        derive(edge().container.settings.secret_key, "idempotency", named.encode()).hex(), request.headers[HEADER]
    )


def _fingerprint() -> bytes:
    described = f"{request.method}\n{request.full_path}\n{request.mimetype}\n".encode()
    return hashlib.sha256(described + request.get_data(cache=True)).digest()
