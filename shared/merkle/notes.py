"""C2SP signed notes and verifier keys: text, a blank line, then one line per signature.

Source: c2sp.org/signed-note. Parsing is strict, so that a note has exactly one spelling: `parse(text).render() == text`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum

from shared.kernel.errors import InvalidInput

MAX_NOTE_CHARS = 1_000_000
MAX_SIGNATURES = 64
KEY_ID_BYTES = 4
_LINE_START = "\u2014 "
_NAME = re.compile(r"[^\s+]{1,255}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


class MalformedNote(InvalidInput):
    """The text is not a signed note, checkpoint or verifier key in its one canonical spelling."""

    code = "malformed_note"


class Algorithm(IntEnum):
    """The signature types this log knows, by their identifier byte."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04
    MLDSA44 = 0x06


PUBLIC_KEY_BYTES = {Algorithm.ED25519: 32, Algorithm.COSIGNATURE_V1: 32, Algorithm.MLDSA44: 1312}


@dataclass(frozen=True)
class VerifierKey:
    """A named public key: whose signature a note line may be. `public`: raw key bytes."""

    name: str
    algorithm: Algorithm
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != PUBLIC_KEY_BYTES[self.algorithm]:
            raise MalformedNote("the public key has the wrong length for its algorithm", field="vkey")

    @property
    def key_id(self) -> bytes:
        """The 4-byte hint that ties a signature line to this key; an identifier, not a proof."""
        preimage = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(preimage).digest()[:KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the `name+keyid+base64` form."""
        material = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read the `name+keyid+base64` form. Raises `MalformedNote`."""
        parts = text.split("+", 2)  # base64 may contain a plus, a name may not
        if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise MalformedNote("a verifier key reads name+keyid+base64", field="vkey")
        material = decode_base64(parts[2])
        if not material or material[0] not in set(Algorithm):
            raise MalformedNote("the verifier key has an unknown algorithm", field="vkey")
        key = cls(name=parts[0], algorithm=Algorithm(material[0]), public=material[1:])
        if key.key_id.hex() != parts[1]:
            raise MalformedNote("the key id does not belong to the verifier key", field="vkey")
        return key


@dataclass(frozen=True)
class SignatureLine:
    """One signature: the key's name and id, and the bytes that its algorithm defines."""

    name: str
    key_id: bytes
    blob: bytes

    def render(self) -> str:
        """Return the line with its newline."""
        return f"{_LINE_START}{self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> SignatureLine:
        """Read one line, its newline included. Raises `MalformedNote`."""
        name, space, encoded = line.removeprefix(_LINE_START).removesuffix("\n").partition(" ")
        if not line.startswith(_LINE_START) or not line.endswith("\n") or not space:
            raise MalformedNote("a signature line reads: em dash, key name, base64")
        raw = decode_base64(encoded)
        if len(raw) <= KEY_ID_BYTES:
            raise MalformedNote("a signature line is too short")
        return cls(name=check_name(name), key_id=raw[:KEY_ID_BYTES], blob=raw[KEY_ID_BYTES:])

    def is_by(self, key: VerifierKey) -> bool:
        """Return whether the line claims to be by `key`; only checking the signature shows that it is."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True)
class Note:
    """A text, newline included, and the signatures over it."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def render(self) -> str:
        """Return the note as it travels."""
        return self.text + "\n" + "".join(line.render() for line in self.signatures)

    @classmethod
    def parse(cls, note: str) -> Note:
        """Read a signed note. Raises `MalformedNote`, also when a key signs twice."""
        if len(note) > MAX_NOTE_CHARS:
            raise MalformedNote("the note is too long")
        if any(char < " " and char != "\n" for char in note):
            raise MalformedNote("the note holds a control character")
        body, gap, signed = note.rpartition("\n\n")
        if not gap or not body or not signed.endswith("\n"):
            raise MalformedNote("a note is a text, a blank line and signature lines")
        lines = signed.split("\n")[:-1]  # not splitlines(), which also splits at U+2028 and its like
        if len(lines) > MAX_SIGNATURES:
            raise MalformedNote("the note has too many signatures")
        signatures = tuple(SignatureLine.parse(line + "\n") for line in lines)
        if len({(line.name, line.key_id) for line in signatures}) != len(signatures):
            raise MalformedNote("a key signs the note twice")
        return cls(text=body + "\n", signatures=signatures)


def check_name(name: str) -> str:
    """Return a key name unchanged, or raise `MalformedNote`: not empty, no spaces, no plus, no control characters."""
    if not _NAME.fullmatch(name) or not name.isprintable():  # names are shown on terminals
        raise MalformedNote("a key name is 1 to 255 printable characters without spaces or plus")
    return name


def decode_base64(text: str) -> bytes:
    """Decode standard base64 that is spelled in the one canonical way. Raises `MalformedNote`."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedNote("not base64") from None
    if base64.b64encode(raw).decode() != text:  # the unused bits of the last digit must be zero
        raise MalformedNote("base64 is not in canonical form")
    return raw
