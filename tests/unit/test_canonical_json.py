"""The canonical forms against RFC 8785 vectors, and the receipt profile against an independent RFC 8785 writer."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.canonical_json import NotCanonical, canonical_bytes, jcs, parse_strict
from shared.kernel.signing import KNOWN_DEVELOPMENT_KEY, RefusedKey, SigningKey, check_public_key, verify

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "jcs_policy_hash.json").read_text())

ascii_keys = st.text(st.characters(max_codepoint=127), max_size=8)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | any_text
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ascii_keys, inner, max_size=5),
    max_leaves=25,
)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_the_published_canonical_forms_hold(vector: dict[str, str]) -> None:
    canonical = jcs(json.loads(vector["input_json"]))
    assert canonical == vector["canonical"].encode()
    assert hashlib.sha256(canonical).hexdigest() == vector["sha256"]


@given(documents)
def test_inside_the_strict_profile_our_bytes_are_those_of_rfc_8785(document: object) -> None:
    assert canonical_bytes(document) == rfc8785.dumps(document)  # type: ignore[arg-type]


@given(documents)
def test_what_is_written_reads_back_the_same(document: object) -> None:
    assert parse_strict(canonical_bytes(document)) == document


@given(st.binary(max_size=60))
def test_reading_arbitrary_bytes_either_gives_a_value_of_the_profile_or_refuses(data: bytes) -> None:
    try:
        value = parse_strict(data)
    except NotCanonical:
        return
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("text", ["\x00\x01\x1f\x7f", '\b\f\n\r\t"\\/', "\u2028\u2029\ufeff", "😀é€", "<script>&"])
def test_awkward_strings_are_escaped_as_rfc_8785_asks(text: str) -> None:
    assert canonical_bytes({"k": text}) == rfc8785.dumps({"k": text})


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.0,
        float("nan"),
        {"a": None},
        {"a": [0.5]},
        2**53,
        -(2**53),
        {"é": 1},
        {1: 1},
        "\ud800",
        b"bytes",
        {1, 2},
        object(),
    ],
    ids=repr,
)
def test_what_the_strict_profile_excludes_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes(value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b"null",
        b"1.0",
        b"1e3",
        b"NaN",
        b"-Infinity",
        b"9007199254740992",
        b"1" * 5000,
        b'"\\ud800"',
        '{"é":1}'.encode(),
        b'\xef\xbb\xbf{"a":1}',
        b"[" * 33 + b"]" * 33,
        b"[" * 200_000,
        b"{} {}",
    ],
    ids=lambda text: repr(text[:24]),
)
def test_text_outside_the_strict_profile_is_refused(text: bytes) -> None:
    with pytest.raises(NotCanonical):
        parse_strict(text)


def test_nesting_is_admitted_to_exactly_32_levels() -> None:
    assert parse_strict(b"[" * 32 + b"1" + b"]" * 32)
    with pytest.raises(NotCanonical):
        parse_strict(b"[" * 33 + b"1" + b"]" * 33)


def test_a_refusal_names_the_place_and_not_the_value() -> None:
    with pytest.raises(NotCanonical) as refusal:
        canonical_bytes({"price": {"usd": [1, 0.25]}, "\x1b[2J": 1})
    assert refusal.value.message == "$.price.usd[1]: float is not allowed"
    with pytest.raises(NotCanonical) as refusal:
        canonical_bytes({"\x1b[2J": 0.25})
    assert refusal.value.message == "$.?: float is not allowed"


def test_an_enum_prints_as_its_value() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert canonical_bytes({"colour": Colour.RED}) == b'{"colour":"red"}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 1}], ids=repr)
def test_what_rfc_8785_cannot_express_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        jcs(value)


def test_the_published_receipt_signature_holds_and_its_known_key_is_still_refused() -> None:
    case = VECTORS["receipt_signature"]
    public, signature = bytes.fromhex(case["public_key_hex"]), bytes.fromhex(case["signature_hex"])
    message = bytes.fromhex(case["receipt_hash"])
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)  # a true signature, by a key anyone can use
    assert public == KNOWN_DEVELOPMENT_KEY
    assert not verify(public, signature, message)
    with pytest.raises(RefusedKey):
        check_public_key(public)


def test_a_signature_holds_for_its_message_and_key_alone() -> None:
    key, other = SigningKey.from_seed(b"\x01" * 32), SigningKey.from_seed(b"\x02" * 32)
    message = bytes(32)
    signature = key.sign(message)
    assert verify(key.public_bytes, signature, message)
    assert not verify(other.public_bytes, signature, message)
    assert not verify(key.public_bytes, signature, bytes(31))
    assert not verify(key.public_bytes, signature[:-1], message)
    assert not verify(key.public_bytes[:-1], signature, message)


def test_a_signature_with_a_second_spelling_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    key = SigningKey.from_seed(b"\x01" * 32)
    signature = key.sign(b"m")
    shifted = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert not verify(key.public_bytes, shifted, b"m")


def test_a_key_shows_its_id_and_nothing_else() -> None:
    seed = b"\x07" * 32
    key = SigningKey.from_seed(seed)
    assert key.kid == hashlib.sha256(key.public_bytes).hexdigest()[:32]
    assert repr(key) == f"SigningKey(kid={key.kid})"
    with pytest.raises(RefusedKey):
        SigningKey.from_seed(seed[:31])
