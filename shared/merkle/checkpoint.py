"""Checkpoints: the log's signed statement of its size and root, and the cosignatures of witnesses over it.

Sources: c2sp.org/tlog-checkpoint and c2sp.org/tlog-cosignature. Extension lines are never written and are refused on
reading: nobody audits them, and an ML-DSA-44 signature does not cover them.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from shared.kernel import signing
from shared.kernel.errors import IntegrityFault, InvalidInput
from shared.merkle.hashing import HASH_BYTES
from shared.merkle.notes import Algorithm, MalformedNote, Note, SignatureLine, VerifierKey, check_name, decode_base64

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
except ImportError:  # a `cryptography` older than ML-DSA: Ed25519 works as before
    MLDSA44PrivateKey = MLDSA44PublicKey = None  # type: ignore[assignment,misc]

MAX_TIMESTAMP = 2**63 - 1
MAX_SIZE = 2**63 - 1
MLDSA44_SIGNATURE_BYTES = 2420
_TIME_BYTES = 8
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_SUBTREE_LABEL = b"subtree/v1\n\x00"


class BadSignature(IntegrityFault):
    """A signature that claims to be by a known key is not."""

    code = "bad_signature"


@dataclass(frozen=True)
class Checkpoint:
    """A tree head: which log, how many leaves, which root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_name(self.origin)
        if len(self.origin.encode()) > 255:
            raise MalformedNote("an origin is at most 255 bytes", field="origin")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise MalformedNote("a checkpoint has a size below 2^63 and a 32-byte root")

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the three lines. Raises `MalformedNote`."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedNote("a checkpoint is exactly three lines")
        if not _SIZE.fullmatch(lines[1]):
            raise MalformedNote("the tree size is not a canonical decimal")
        return cls(origin=lines[0], size=int(lines[1]), root=decode_base64(lines[2]))


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint with signature lines; which of them hold is for `verify_line` to say."""

    checkpoint: Checkpoint
    signatures: tuple[SignatureLine, ...]

    def render(self) -> str:
        """Return the signed note."""
        return Note(text=self.checkpoint.text(), signatures=self.signatures).render()

    @classmethod
    def parse(cls, note: str) -> SignedCheckpoint:
        """Read a signed note whose text is a checkpoint. Raises `MalformedNote`."""
        parsed = Note.parse(note)
        return cls(checkpoint=Checkpoint.parse(parsed.text), signatures=parsed.signatures)

    def with_line(self, line: str) -> SignedCheckpoint:
        """Return this checkpoint with one more signature line, such as a witness's. Raises `MalformedNote`."""
        return self.parse(self.render() + line)


@dataclass(frozen=True)
class MlDsaKey:
    """An ML-DSA-44 key from a 32-byte seed, for hybrid checkpoints. Raises `InvalidInput` where the library lacks it."""

    seed: bytes

    def __post_init__(self) -> None:
        if len(self.seed) != signing.SEED_BYTES:
            raise InvalidInput("an ML-DSA-44 seed is 32 bytes", field="seed")
        if not mldsa_available():
            raise InvalidInput("this cryptography library has no ML-DSA-44")

    def __repr__(self) -> str:
        return "MlDsaKey()"

    @property
    def public_bytes(self) -> bytes:
        """The 1312-byte public key."""
        return self._private().public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 2420-byte signature."""
        return self._private().sign(message)

    def _private(self) -> MLDSA44PrivateKey:
        return MLDSA44PrivateKey.from_seed_bytes(self.seed)


def mldsa_available() -> bool:
    """Return whether ML-DSA-44 works here: old libraries lack it, and some builds refuse it at run time."""
    if MLDSA44PrivateKey is None:
        return False
    try:
        MLDSA44PrivateKey.from_seed_bytes(bytes(signing.SEED_BYTES))
    except UnsupportedAlgorithm:
        return False
    return True


def log_key(origin: str, public: bytes) -> VerifierKey:
    """Return the verifier key of a log's Ed25519 key; by convention its name is the origin."""
    return VerifierKey(name=origin, algorithm=Algorithm.ED25519, public=public)


def witness_key(name: str, public: bytes) -> VerifierKey:
    """Return the verifier key of a witness that makes Ed25519 cosignatures."""
    return VerifierKey(name=name, algorithm=Algorithm.COSIGNATURE_V1, public=public)


def mldsa_key(name: str, public: bytes) -> VerifierKey:
    """Return the verifier key of an ML-DSA-44 log or witness key."""
    return VerifierKey(name=name, algorithm=Algorithm.MLDSA44, public=public)


def sign_checkpoint(
    checkpoint: Checkpoint, *, key: signing.SigningKey, mldsa: MlDsaKey | None = None, timestamp: int = 0
) -> str:
    """Return the log's signed note: an Ed25519 line, and an ML-DSA-44 line where `mldsa` is given.

    `timestamp`: Unix seconds inside the ML-DSA-44 signature; 0 states nothing about the time.
    """
    own = log_key(checkpoint.origin, key.public_bytes)
    lines = [SignatureLine(name=own.name, key_id=own.key_id, blob=key.sign(checkpoint.text().encode()))]
    if mldsa is not None:
        lines.append(cosign_mldsa(checkpoint, name=checkpoint.origin, key=mldsa, timestamp=timestamp))
    return SignedCheckpoint(checkpoint=checkpoint, signatures=tuple(lines)).render()


def cosign(checkpoint: Checkpoint, *, name: str, key: signing.SigningKey, timestamp: int) -> SignatureLine:
    """Return a witness's cosignature/v1 line. `timestamp`: Unix seconds of the observation."""
    own = witness_key(name, key.public_bytes)
    signature = key.sign(_cosignature_message(checkpoint, timestamp))
    return SignatureLine(name=name, key_id=own.key_id, blob=_time_bytes(timestamp) + signature)


def cosign_mldsa(checkpoint: Checkpoint, *, name: str, key: MlDsaKey, timestamp: int) -> SignatureLine:
    """Return an ML-DSA-44 line, by a log or a witness. `timestamp`: Unix seconds, or 0."""
    own = mldsa_key(name, key.public_bytes)
    signature = key.sign(_subtree_message(checkpoint, name, timestamp))
    return SignatureLine(name=name, key_id=own.key_id, blob=_time_bytes(timestamp) + signature)


def verify_line(checkpoint: Checkpoint, line: SignatureLine, key: VerifierKey) -> int | None:
    """Accept that `line` is by `key` over `checkpoint`, or raise `BadSignature`.

    Returns the Unix seconds that the signature states, or None for a plain Ed25519 signature, which states none.
    """
    if not line.is_by(key):
        raise BadSignature("the signature line names another key")
    if key.algorithm is Algorithm.ED25519:
        _require(signing.verify(key.public, line.blob, checkpoint.text().encode()), key)
        return None
    timestamp = int.from_bytes(line.blob[:_TIME_BYTES], "big")
    signature = line.blob[_TIME_BYTES:]
    if timestamp > MAX_TIMESTAMP or len(line.blob) <= _TIME_BYTES:
        raise BadSignature(f"the signature by {key.name} is malformed")
    if key.algorithm is Algorithm.COSIGNATURE_V1:
        _require(signing.verify(key.public, signature, _cosignature_message(checkpoint, timestamp)), key)
    else:
        _require(_verify_mldsa(key.public, signature, _subtree_message(checkpoint, key.name, timestamp)), key)
    return timestamp


def _verify_mldsa(public: bytes, signature: bytes, message: bytes) -> bool:
    if not mldsa_available():
        raise BadSignature("an ML-DSA-44 signature cannot be checked by this cryptography library")
    if len(signature) != MLDSA44_SIGNATURE_BYTES:
        return False
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _require(holds: bool, key: VerifierKey) -> None:
    if not holds:
        raise BadSignature(f"the signature by {key.name} does not verify")


def _time_bytes(timestamp: int) -> bytes:
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise InvalidInput("a timestamp is Unix seconds below 2^63", field="timestamp")
    return timestamp.to_bytes(_TIME_BYTES, "big")


def _cosignature_message(checkpoint: Checkpoint, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{checkpoint.text()}".encode()


def _subtree_message(checkpoint: Checkpoint, name: str, timestamp: int) -> bytes:
    """TLS presentation: a one-byte length before each name; the subtree starts at leaf 0."""
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    start = bytes(8)
    return b"".join(
        [
            _SUBTREE_LABEL,
            bytes([len(cosigner)]) + cosigner,
            _time_bytes(timestamp),
            bytes([len(origin)]) + origin,
            start,
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        ]
    )
