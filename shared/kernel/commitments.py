"""Commitments: how a receipt names an input or an output without revealing it.

A bare hash of a short prompt can be guessed; a salted one cannot. Deleting the salt makes the commitment unopenable for
ever, which is how an erasure leaves the log intact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from shared.kernel.errors import InvalidInput

SALT_BYTES = 32
_WHOLE = b"\x00"
_STREAM = b"\x01"


def commit(salt: bytes, exact_bytes: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ salt ‖ bytes): the commitment to one exact byte string. `salt`: 32 random bytes."""
    return hashlib.sha256(_WHOLE + _checked(salt) + exact_bytes).digest()


def commit_stream(salt: bytes, chain: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ salt ‖ chain): the commitment to a stream by the digest of its `StreamChain`.

    The salt is needed because the chain starts from a public run id; the other prefix keeps anyone from opening one
    commitment both as a stream and as 32 plain bytes.
    """
    return hashlib.sha256(_STREAM + _checked(salt) + chain).digest()


class StreamChain:
    """A hash chain over the exact wire bytes of a stream, chunk by chunk.

    h0 = SHA-256("stream" ‖ run_id), hi = SHA-256(h(i-1) ‖ SHA-256(chunk)). `chunks` counts what was absorbed.
    """

    __slots__ = ("chunks", "digest")

    def __init__(self, run_id: str) -> None:
        self.digest = hashlib.sha256(b"stream" + run_id.encode()).digest()
        self.chunks = 0

    def absorb(self, chunk: bytes) -> None:
        """Add the next chunk as it went over the wire."""
        self.digest = hashlib.sha256(self.digest + hashlib.sha256(chunk).digest()).digest()
        self.chunks += 1


def chain_of(run_id: str, chunks: Iterable[bytes]) -> bytes:
    """Return the 32-byte chain digest of a whole stream."""
    chain = StreamChain(run_id)
    for chunk in chunks:
        chain.absorb(chunk)
    return chain.digest


def _checked(salt: bytes) -> bytes:
    if len(salt) != SALT_BYTES:
        raise InvalidInput("a salt is 32 bytes", field="salt")
    return salt
