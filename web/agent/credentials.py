"""The Authorization header, read with distrust: what is not exactly a credential of ours is a 401, never anything else."""

from __future__ import annotations

import re
from typing import NamedTuple

from flask import Request

from shared.kernel.errors import Unauthorized

LONGEST = 4096
_BASE64 = r"([A-Za-z0-9+/_-]{1,4096}={0,2})"
_BEARER = re.compile(rf"bearer {{1,8}}{_BASE64}", re.IGNORECASE | re.ASCII)
_L402 = re.compile(rf"(?:l402|lsat) {{1,8}}{_BASE64}:([0-9a-f]{{64}})", re.IGNORECASE | re.ASCII)


class L402Credential(NamedTuple):
    """A macaroon and the preimage that proves its payment."""

    token: str
    preimage: bytes


class Credential(NamedTuple):
    """A macaroon, with the preimage where it came as L402."""

    token: str
    preimage: bytes | None


def has_credential(request: Request) -> bool:
    """Tell whether the caller sent an Authorization header at all."""
    return "Authorization" in request.headers


def bearer_token(request: Request) -> str:
    """Return the token of `Authorization: Bearer <macaroon>`. Raises `Unauthorized`."""
    found = _BEARER.fullmatch(_header(request))
    if found is None:
        raise Unauthorized("this address needs Authorization: Bearer <macaroon>")
    return found[1]


def l402_credential(request: Request) -> L402Credential:
    """Return what `Authorization: L402 <macaroon>:<preimage>` holds; the older name LSAT is the same. Raises `Unauthorized`."""
    found = _L402.fullmatch(_header(request))
    if found is None:
        raise Unauthorized("this address needs Authorization: L402 <macaroon>:<preimage in hex>")
    return L402Credential(found[1], bytes.fromhex(found[2]))


def credential(request: Request) -> Credential:
    """Return a Bearer token or an L402 credential, whichever came. Raises `Unauthorized`."""
    header = _header(request)
    bearer, l402 = _BEARER.fullmatch(header), _L402.fullmatch(header)
    if bearer is not None:
        return Credential(bearer[1], None)
    if l402 is not None:
        return Credential(l402[1], bytes.fromhex(l402[2]))
    raise Unauthorized("this address needs Authorization: Bearer <macaroon>, or L402 <macaroon>:<preimage in hex>")


def _header(request: Request) -> str:
    """Several headers arrive joined by a comma, which no credential holds."""
    text = request.headers.get("Authorization", "")
    if len(text) > LONGEST:
        raise Unauthorized("the credential is too long")
    return text.strip(" ")
