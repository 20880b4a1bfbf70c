"""Macaroons as texts: make one under a root key, find out what one allows. Pure; the root keys come from `macaroons`.

The identifier is L402's: version 0 in two bytes, the payment hash, a token id. The signature is HMAC-SHA256 over the identifier,
chained over each caveat, under a key derived as libmacaroons does, so that every macaroon library can read and narrow ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from shared.access.caveats import EXPIRES, SUBJECT_PREFIX, Widened, bounds_of, parsed, written
from shared.access.model import Grant, Macaroon
from shared.access.wire import Unreadable, decode, encode
from shared.kernel.derive import derive
from shared.kernel.errors import Unauthorized

LONGEST = 4096
HASH_LENGTH = 32
_VERSION = (0).to_bytes(2, "big")
_IDENTIFIER_LENGTH = len(_VERSION) + HASH_LENGTH + 32
_KEY_GENERATOR = b"macaroons-key-generator"  # libmacaroons' constant
_REFUSED = "the macaroon is not valid here"


def issue(
    root_key: bytes,
    *,
    seal_key: bytes,
    payment_hash: bytes,
    subject: str,
    subject_id: str,
    expires_at: datetime,
    caveats: Sequence[str],
) -> str:
    """Return the macaroon for these arguments, always the same: standard base64, padded.

    Its second caveat is our own expiry, which another macaroon handed out on the strength of this one does not inherit. The
    subject's id is a key to money, so it is sealed: whoever is handed a narrowed macaroon does not learn it.
    """
    sealed = _masked(subject_id.encode("ascii"), seal_key, subject=subject, payment_hash=payment_hash).hex()
    texts = [written(SUBJECT_PREFIX + subject, sealed), written(EXPIRES, int(expires_at.timestamp())), *caveats]
    token_id = derive(root_key, "macaroon:token", payment_hash + "\n".join(texts).encode("ascii"))
    identifier = _VERSION + payment_hash + token_id
    unsigned = Macaroon(identifier, tuple(text.encode("ascii") for text in texts), b"")
    signature = _signature(root_key, unsigned)
    return base64.b64encode(encode(Macaroon(identifier, unsigned.caveats, signature))).decode("ascii")


def grant_of(token: str, *, root_keys: Sequence[bytes], seal_key: bytes, now: datetime, path: str) -> Grant:
    """Return what `token` allows at `path`. Every key is tried, whichever fits; raises `Unauthorized` and nothing else."""
    macaroon = _read(token)
    fits = [hmac.compare_digest(_signature(key, macaroon), macaroon.signature) for key in root_keys]
    if not any(fits):
        raise Unauthorized(_REFUSED)
    payment_hash = macaroon.identifier[len(_VERSION) : len(_VERSION) + HASH_LENGTH]
    try:
        name, sealed = parsed(macaroon.caveats[0])
        second, _ = parsed(macaroon.caveats[1])
        bounds = bounds_of(macaroon.caveats[1:])
    except Widened:
        raise Unauthorized(_REFUSED) from None
    if second != EXPIRES:
        raise Unauthorized(_REFUSED)
    if not bounds.allow(path=path, now=now):
        raise Unauthorized("the macaroon is not valid at this address, or no longer")
    subject = name.removeprefix(SUBJECT_PREFIX)
    return Grant(
        payment_hash,
        subject,
        _masked(bytes.fromhex(sealed), seal_key, subject=subject, payment_hash=payment_hash).decode("ascii"),
        max_sats=bounds.max_sats,
        expires_at=bounds.expires_at,
        needs_preimage=bounds.needs_preimage,
        restrictions=tuple(caveat.decode("ascii") for caveat in macaroon.caveats[2:]),
    )


def proves_payment(preimage: bytes, payment_hash: bytes) -> bool:
    """Tell whether `preimage` is the one that the payer of this hash got."""
    return hmac.compare_digest(hashlib.sha256(preimage).digest(), payment_hash)


def _read(token: str) -> Macaroon:
    """Standard and URL-safe base64, padded or not: libraries differ."""
    if len(token) > LONGEST:
        raise Unauthorized(_REFUSED)
    bare = token.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        raw = base64.b64decode(bare.encode("ascii") + b"=" * (-len(bare) % 4), validate=True)
        macaroon = decode(raw)
    except (binascii.Error, UnicodeEncodeError, Unreadable):
        raise Unauthorized(_REFUSED) from None
    identifier = macaroon.identifier
    if len(identifier) != _IDENTIFIER_LENGTH or not identifier.startswith(_VERSION) or len(macaroon.caveats) < 2:
        raise Unauthorized(_REFUSED)
    return macaroon


def _signature(root_key: bytes, macaroon: Macaroon) -> bytes:
    signature = _hmac(_hmac(_KEY_GENERATOR, root_key), macaroon.identifier)
    for caveat in macaroon.caveats:
        signature = _hmac(signature, caveat)
    return signature


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _masked(text: bytes, seal_key: bytes, *, subject: str, payment_hash: bytes) -> bytes:
    """Mask or unmask a subject's id. A payment hash has one owner, so no mask ever covers two texts."""
    context = subject.encode("ascii") + b":" + payment_hash
    mask = b"".join(derive(seal_key, f"macaroon:seal:{block}", context) for block in range(2))
    if len(text) > len(mask):
        raise ValueError("a subject's id is too long to be sealed")
    return bytes(one ^ other for one, other in zip(text, mask, strict=False))
