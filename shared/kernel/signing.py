"""Ed25519 (RFC 8032): the keys that sign receipts, checkpoints and cosignatures."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.kernel.errors import InvalidInput

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

# The gateway's published implementation falls back to a development seed that anyone can read: a signature by this key
# proves nothing, so the key is refused wherever a key enters.
KNOWN_DEVELOPMENT_KEY = bytes.fromhex("382763aaf28623b147912a16f2c255aecae78c351d1e5d0fb4fa42bb10ef4f91")


class RefusedKey(InvalidInput):
    """The key cannot be used: wrong length, or its private half is public knowledge."""

    code = "refused_key"


class SigningKey:
    """An Ed25519 private key. It never prints itself."""

    __slots__ = ("_private", "public_bytes")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_bytes = private.public_key().public_bytes_raw()
        check_public_key(self.public_bytes)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """Return the key of a 32-byte seed. Raises `RefusedKey`."""
        if len(seed) != SEED_BYTES:
            raise RefusedKey("an Ed25519 seed is 32 bytes")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def kid(self) -> str:
        """The key id that receipts carry; see `key_id_of`."""
        return key_id_of(self.public_bytes)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`; for a receipt that is the 32 raw bytes of its hash."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid})"


def key_id_of(public: bytes) -> str:
    """Return the key id: the first 16 bytes of SHA-256 of the public key, 32 lower-case hex digits.

    128 bits, so that a signed key id binds the key: nobody finds a second key with the same id.
    """
    return hashlib.sha256(public).hexdigest()[:32]


def check_public_key(public: bytes) -> None:
    """Refuse a key that no verifier may rely on. Raises `RefusedKey`."""
    if len(public) != PUBLIC_KEY_BYTES:
        raise RefusedKey("an Ed25519 public key is 32 bytes")
    if public == KNOWN_DEVELOPMENT_KEY:
        raise RefusedKey("this is the publicly known development key; anyone can sign with it")


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether `signature` is by `public` over `message`; a refused or malformed key verifies nothing."""
    try:
        check_public_key(public)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (RefusedKey, InvalidSignature, ValueError):
        return False
    return True
