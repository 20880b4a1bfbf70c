"""The binary macaroon format, version 2 (libmacaroons' `doc/format.txt`), as lnd, Go, npm and pymacaroons write it.

    0x02  [location]  identifier  end  { [location]  identifier  end }…  end  signature

A field is its type, its length as a varint, its bytes; `end` is a zero. Locations are hints and covered by no signature, so they are
skipped. A third-party caveat (one with a verification id) is nothing that we could discharge: it makes the whole macaroon unreadable.
"""

from __future__ import annotations

from shared.access.model import Macaroon

VERSION = 2
LOCATION = b"lucid"
MOST_BYTES = 3072
MOST_CAVEATS = 32
SIGNATURE_LENGTH = 32
_END, _LOCATION, _IDENTIFIER, _SIGNATURE = 0, 1, 2, 6


class Unreadable(ValueError):
    """The bytes are no macaroon of the kind that we make."""


def encode(macaroon: Macaroon) -> bytes:
    """Return the macaroon's bytes."""
    caveats = [_field(_IDENTIFIER, caveat) + bytes([_END]) for caveat in macaroon.caveats]
    head = bytes([VERSION]) + _field(_LOCATION, LOCATION) + _field(_IDENTIFIER, macaroon.identifier) + bytes([_END])
    return head + b"".join(caveats) + bytes([_END]) + _field(_SIGNATURE, macaroon.signature)


def decode(raw: bytes) -> Macaroon:
    """Take the bytes of one macaroon apart. Raises `Unreadable` and nothing else."""
    if len(raw) > MOST_BYTES or raw[:1] != bytes([VERSION]):
        raise Unreadable("not a macaroon of version 2")
    reader = _Reader(raw, at=1)
    identifier = reader.section()
    if identifier is None:
        raise Unreadable("no identifier")
    caveats = []
    while (caveat := reader.section()) is not None:
        caveats.append(caveat)
        if len(caveats) > MOST_CAVEATS:
            raise Unreadable("too many caveats")
    signature = reader.field(_SIGNATURE)
    if len(signature) != SIGNATURE_LENGTH or reader.at != len(raw):
        raise Unreadable("no signature at the end")
    return Macaroon(identifier, tuple(caveats), signature)


class _Reader:
    """Reads fields one after another."""

    def __init__(self, raw: bytes, *, at: int) -> None:
        self._raw = raw
        self.at = at

    def section(self) -> bytes | None:
        """Return the identifier of the section that begins here; None for an empty one, which ends the list."""
        if self._peek() == _END:
            self.at += 1
            return None
        if self._peek() == _LOCATION:
            self.field(_LOCATION)
        identifier = self.field(_IDENTIFIER)
        if self._peek() != _END:
            raise Unreadable("a section of more than a location and an identifier")
        self.at += 1
        return identifier

    def field(self, kind: int) -> bytes:
        """Return the bytes of the field of this type that begins here."""
        if self._peek() != kind:
            raise Unreadable("another field was expected")
        self.at += 1
        length = self._length()
        start, self.at = self.at, self.at + length
        if self.at > len(self._raw):
            raise Unreadable("a field reaches beyond the end")
        return self._raw[start : self.at]

    def _length(self) -> int:
        length = 0
        for shift in (0, 7):  # two groups of seven bits are more than a macaroon may be long
            byte = self._peek()
            self.at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return length
        raise Unreadable("a field too long")

    def _peek(self) -> int:
        if self.at >= len(self._raw):
            raise Unreadable("cut off")
        return self._raw[self.at]


def _field(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    groups = []
    while True:
        number, low = number >> 7, number & 0x7F
        groups.append(low | (0x80 if number else 0))
        if not number:
            return bytes(groups)
