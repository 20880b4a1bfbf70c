"""Independent keys from the one SECRET_KEY, each bound to its purpose (HMAC-SHA256 as a key derivation, RFC 5869's expand step)."""

from __future__ import annotations

import hashlib
import hmac


def derive(secret: bytes, purpose: str, context: bytes = b"") -> bytes:
    """Return 32 bytes for `purpose` and `context`; nothing about `secret` or the other purposes follows from them."""
    return hmac.new(secret, b"lucid:" + purpose.encode("ascii") + b"\x00" + context, hashlib.sha256).digest()
