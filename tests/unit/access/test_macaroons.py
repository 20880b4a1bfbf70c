"""Macaroons against the library in the field, and against whoever would have more than he was given."""

from __future__ import annotations

import base64
import hashlib
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pymacaroons import MACAROON_V2, Verifier
from pymacaroons import Macaroon as Theirs
from pymacaroons.serializers.binary_serializer import BinarySerializer

from shared.access.model import Grant, Macaroon
from shared.access.tokens import grant_of, issue, proves_payment
from shared.access.wire import MOST_CAVEATS, decode, encode
from shared.kernel.errors import Unauthorized

CASES = 100_000 if os.environ.get("LUCID_SOAK") else 3_000
ROOT, OLDER, SEAL = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
HASH = hashlib.sha256(b"p" * 32).digest()
SESSION = "session_" + "0f" * 16
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PATH = f"/api/sessions/{SESSION}/request"
EXPIRY = datetime(2036, 1, 1, tzinfo=UTC)


def made(*caveats: str, root_key: bytes = ROOT) -> str:
    return issue(
        root_key,
        seal_key=SEAL,
        payment_hash=HASH,
        subject="session",
        subject_id=SESSION,
        expires_at=EXPIRY,
        caveats=caveats,
    )


def narrowed(token: str, *caveats: str) -> str:
    """What a holder does who has the library of the field and no key."""
    theirs = Theirs.deserialize(token)
    for caveat in caveats:
        theirs.add_first_party_caveat(caveat)
    return str(theirs.serialize())


def checked(
    token: str, *, now: datetime = NOW, path: str = PATH, root_keys: tuple[bytes, ...] = (ROOT, OLDER)
) -> Grant:
    return grant_of(token, root_keys=root_keys, seal_key=SEAL, now=now, path=path)


def test_a_macaroon_of_ours_tells_its_payment_and_its_subject() -> None:
    grant = checked(made())
    assert (grant.payment_hash, grant.subject, grant.subject_id) == (HASH, "session", SESSION)
    assert (grant.max_sats, grant.expires_at, grant.restrictions) == (None, EXPIRY, ())
    assert not grant.needs_preimage
    assert checked(made("lucid:needs = preimage")).needs_preimage


def test_every_macaroon_ends_of_itself_and_hands_its_own_expiry_on_to_none() -> None:
    assert decode(base64.b64decode(made())).caveats[1] == f"expires = {int(EXPIRY.timestamp())}".encode()
    with pytest.raises(Unauthorized):
        checked(made(), now=EXPIRY)
    assert checked(narrowed(made(), "expires = 1900000000")).restrictions == ("expires = 1900000000",)


def test_that_a_macaroon_needs_its_preimage_survives_whatever_its_holder_adds() -> None:
    token = made("lucid:needs = preimage")
    assert checked(narrowed(token, "max_sats = 40", "path = /api", "lucid:needs = preimage")).needs_preimage
    with pytest.raises(Unauthorized):
        checked(narrowed(token, "lucid:needs = nothing"))
    with pytest.raises(Unauthorized):
        checked(_rewritten(token, lambda caveats: caveats[:-1]))


def test_the_same_arguments_give_the_same_macaroon_and_others_another() -> None:
    assert made() == made()
    assert len({made(), made("max_sats = 1"), made(root_key=OLDER)}) == 3


def test_the_identifier_is_that_of_l402() -> None:
    identifier = decode(base64.b64decode(made(), validate=True)).identifier
    assert len(identifier) == 66
    assert identifier[:2] == b"\x00\x00"
    assert identifier[2:34] == HASH


def test_a_macaroon_does_not_tell_the_session_s_id() -> None:
    """The id is a key to money; whoever is handed a narrowed macaroon must not be able to ask for the wide one."""
    raw = base64.b64decode(made())
    assert b"lucid:session = " in raw
    assert SESSION.encode() not in raw
    assert bytes.fromhex("0f" * 16) not in raw


def test_the_library_of_the_field_reads_and_verifies_ours() -> None:
    theirs = Theirs.deserialize(made("max_sats = 40"))
    assert theirs.version == MACAROON_V2
    verifier = Verifier()
    verifier.satisfy_general(lambda caveat: caveat.startswith(("lucid:session = ", "expires = ", "max_sats = ")))
    assert verifier.verify(theirs, ROOT)


def test_ours_is_byte_for_byte_what_the_library_writes() -> None:
    ours = decode(base64.b64decode(made("max_sats = 40")))
    theirs = Theirs(location="lucid", identifier=ours.identifier, key=ROOT, version=MACAROON_V2)
    for caveat in ours.caveats:
        theirs.add_first_party_caveat(caveat.decode())
    assert BinarySerializer().serialize_raw(theirs) == base64.b64decode(made("max_sats = 40"))


@pytest.mark.parametrize("length", [1, 100, 127, 128, 200, 255])
def test_lengths_of_one_and_two_bytes_are_read_alike(length: int) -> None:
    path = "/" + "a" * (length - 1)
    grant = checked(narrowed(made(), f"path = {path}"), path=path)
    assert grant.restrictions == (f"path = {path}",)


@pytest.mark.parametrize(
    "spell",
    [
        lambda token: token,
        lambda token: token.rstrip("="),
        lambda token: token.replace("+", "-").replace("/", "_"),
        lambda token: token.replace("+", "-").replace("/", "_").rstrip("="),
    ],
)
def test_standard_and_url_safe_base64_are_read_padded_or_not(spell: Callable[[str], str]) -> None:
    assert checked(spell(made())).subject_id == SESSION


def test_the_generation_before_is_valid_and_a_retired_one_is_not() -> None:
    assert checked(made(root_key=OLDER)).subject_id == SESSION
    with pytest.raises(Unauthorized):
        checked(made(root_key=OLDER), root_keys=(ROOT,))
    with pytest.raises(Unauthorized):
        checked(made(), root_keys=())


def test_a_holder_can_narrow_address_amount_and_time() -> None:
    soon = int(NOW.timestamp()) + 60
    token = narrowed(made(), "path = /api/sessions", "max_sats = 40", f"expires = {soon}", "max_sats=30")
    grant = checked(token)
    assert grant.max_sats == 30
    assert grant.expires_at == datetime.fromtimestamp(soon, UTC)
    assert len(grant.restrictions) == 4
    with pytest.raises(Unauthorized):
        checked(token, path="/api/l402/requests")
    with pytest.raises(Unauthorized):
        checked(token, now=datetime.fromtimestamp(soon, UTC))


@pytest.mark.parametrize(
    ("allowed", "path", "is_within"),
    [
        ("/", "/api/x", True),
        ("/api", "/api", True),
        ("/api/", "/api/x", True),
        ("/api/sessions", "/api/sessions/x", True),
        ("/api/sessions", "/api/sessionsx", False),
        ("/api/sessions/x", "/api/sessions", False),
    ],
)
def test_a_path_covers_whole_segments(allowed: str, path: str, is_within: bool) -> None:
    token = narrowed(made(), f"path = {allowed}")
    if is_within:
        checked(token, path=path)
    else:
        with pytest.raises(Unauthorized):
            checked(token, path=path)


@pytest.mark.parametrize(
    "caveats",
    [
        ("max_sats = 40", "max_sats = 41"),
        ("expires = 1900000000", "expires = 1900000001"),
        ("path = /api/sessions", "path = /api"),
        ("path = /api/sessions", "path = /api/l402"),
        ("lucid:session = " + "00" * 40,),
        ("lucid:job = " + "00" * 40,),
        ("method = POST",),
        ("max_sats = -1",),
        ("max_sats = 1e3",),
        ("max_sats = 99999999999",),
        ("max_sats = ４０",),
        ("expires = 1900000000.5",),
        ("path = api",),
        ("path = /api/sessions\x00",),
        ("max_sats",),
        ("",),
    ],
)
def test_what_would_widen_or_means_nothing_to_us_allows_nothing(caveats: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized):
        checked(narrowed(made(), *caveats))


def test_a_caveat_cannot_be_taken_away_moved_or_changed() -> None:
    token = narrowed(made("expires = 1900000000"), "max_sats = 40", "path = /api/sessions")
    assert checked(token).max_sats == 40
    changes: tuple[Callable[[tuple[bytes, ...]], tuple[bytes, ...]], ...] = (
        lambda caveats: caveats[:-1],
        lambda caveats: caveats[1:],
        lambda caveats: (*caveats[:-2], caveats[-1], caveats[-2]),
        lambda caveats: tuple(caveat.replace(b"40", b"99") for caveat in caveats),
        lambda _caveats: (),
    )
    for change in changes:
        with pytest.raises(Unauthorized):
            checked(_rewritten(token, change))


def test_a_third_party_caveat_and_too_many_caveats_are_refused() -> None:
    theirs = Theirs.deserialize(made())
    theirs.add_third_party_caveat("https://elsewhere.test", "key", "id")
    with pytest.raises(Unauthorized):
        checked(str(theirs.serialize()))
    crowd = narrowed(made(), *["max_sats = 9"] * (MOST_CAVEATS - 2))
    assert checked(crowd).max_sats == 9
    with pytest.raises(Unauthorized):
        checked(narrowed(crowd, "max_sats = 9"))


def test_a_preimage_proves_its_own_hash_only() -> None:
    assert proves_payment(b"p" * 32, HASH)
    assert not proves_payment(b"q" * 32, HASH)
    assert not proves_payment(b"", HASH)


def test_no_text_whatever_is_anything_but_refused() -> None:
    """Mutations of a good macaroon and noise: only the untouched one, however spelt, is good; nothing else but Unauthorized comes out."""
    chance = random.Random(f"macaroons {os.environ.get('LUCID_SEED', '')}")
    good = made("max_sats = 40")
    raw = base64.b64decode(good)
    for _ in range(CASES):
        text = _mutated(chance, good, raw)
        try:
            grant = checked(text)
        except Unauthorized:
            continue
        assert _signed_part(text) == _signed_part(good), text
        assert grant.subject_id == SESSION


def _mutated(chance: random.Random, good: str, raw: bytes) -> str:
    kind = chance.randrange(7)
    if kind == 0:
        return "".join(chr(chance.choice((chance.randrange(128), chance.randrange(0x110000)))) for _ in range(40))
    if kind == 1:
        return base64.b64encode(chance.randbytes(chance.randrange(300))).decode()
    if kind == 2:
        return good[: chance.randrange(len(good))]
    if kind == 3:
        at = chance.randrange(len(good))
        return good[:at] + chance.choice("=-_+/ \nA9é\x00") + good[at + chance.randrange(2) :]
    flipped = bytearray(raw)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(flipped))
        flipped[at] = (flipped[at] ^ (1 << chance.randrange(8))) if kind < 6 else chance.randrange(256)
    if chance.random() < 0.3:
        at = chance.randrange(len(flipped))
        flipped[at:at] = chance.randbytes(chance.randrange(1, 5))
    return base64.b64encode(bytes(flipped)).decode()


def _signed_part(text: str) -> tuple[object, ...]:
    """Identifier, caveats, signature: what is signed. A location is not, and base64 has spare bits."""
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    macaroon = decode(base64.b64decode(bare + "=" * (-len(bare) % 4)))
    return macaroon.identifier, macaroon.caveats, macaroon.signature


def _rewritten(token: str, change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> str:
    macaroon = decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    caveats = change(macaroon.caveats)
    assert caveats != macaroon.caveats
    return base64.b64encode(encode(Macaroon(macaroon.identifier, caveats, macaroon.signature))).decode()
