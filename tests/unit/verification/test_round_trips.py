"""Which function takes back what another one gives, and how it is asked."""

from __future__ import annotations

import pytest

from shared.sandbox.model import Probe
from shared.verification.round_trips import inverse_of, way_back


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("encode", "decode"),
        ("decode", "encode"),
        ("rle_encode", "rle_decode"),
        ("caesarEncrypt", "caesarDecrypt"),
        ("to_roman", "from_roman"),
        ("int_to_roman", "roman_to_int"),
        ("hexToRgb", "rgbToHex"),
        ("parse_query", "format_query"),
    ],
)
def test_an_inverse_is_told_by_its_name(name: str, other: str) -> None:
    assert inverse_of(name, ["unrelated", name, other]) == other


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("encode", ["encode", "decode_all"]),
        ("add", ["add", "subtract"]),
        ("to", ["to", "total"]),
        ("", ["decode"]),
        ("format_date", ["parse_time"]),
    ],
)
def test_what_only_looks_like_one_is_none(name: str, others: list[str]) -> None:
    assert inverse_of(name, others) is None


def test_the_way_back_keeps_the_other_arguments_and_expects_the_input() -> None:
    there = Probe("encrypt('a, b', 3)", expected="'d, e'")
    assert way_back(there, "encrypt", "decrypt", "'d, e'") == Probe("decrypt('d, e', 3)", expected="'a, b'")


@pytest.mark.parametrize(
    "probe",
    [
        Probe("encode()", expected="''"),
        Probe("Codec().encode('a')", expected="'b'"),
        Probe("await encode('a')", expected="'b'"),
        Probe("len(encode('a'))", expected="1"),
        Probe("encode('a')[0]", expected="'b'"),
        Probe("encode(x)", setup="x = 'a'", expected="'b'"),
        Probe("encode(None)", raises="TypeError"),
    ],
)
def test_what_is_no_plain_call_of_values_has_no_way_back(probe: Probe) -> None:
    assert way_back(probe, "encode", "decode", "'b'") is None
