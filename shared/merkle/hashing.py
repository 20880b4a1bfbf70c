"""The three hashes of an RFC 6962 tree. No position and no size ever enters a hash."""

from __future__ import annotations

import hashlib

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry). In this log the entry is the 32 raw bytes of a receipt hash."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right), for interior nodes and for bagging alike."""
    return hashlib.sha256(b"\x01" + left + right).digest()
