"""Signed notes, checkpoints and cosignatures, against the C2SP documents."""

from __future__ import annotations

import base64
import hashlib

import pytest

from shared.kernel.errors import InvalidInput
from shared.kernel.signing import KNOWN_DEVELOPMENT_KEY, SigningKey
from shared.merkle.checkpoint import (
    BadSignature,
    Checkpoint,
    MlDsaKey,
    SignedCheckpoint,
    cosign,
    cosign_mldsa,
    log_key,
    mldsa_available,
    mldsa_key,
    sign_checkpoint,
    verify_line,
    witness_key,
)
from shared.merkle.notes import Algorithm, MalformedNote, Note, VerifierKey

ORIGIN = "log.example/receipts"
LOG = SigningKey.from_seed(b"\x01" * 32)
WITNESS = SigningKey.from_seed(b"\x02" * 32)
HEAD = Checkpoint(origin=ORIGIN, size=20852163, root=bytes(range(32)))

# The example of c2sp.org/tlog-cosignature: a note signed by keys whose private halves nobody publishes.
PUBLISHED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def test_the_published_checkpoint_reads_and_prints_unchanged() -> None:
    signed = SignedCheckpoint.parse(PUBLISHED)
    assert (signed.checkpoint.origin, signed.checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert [line.name for line in signed.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(signed.signatures[1].blob[:8], "big") == 1679315147
    assert signed.render() == PUBLISHED


def test_a_checkpoint_signed_by_the_log_verifies_with_its_key() -> None:
    signed = SignedCheckpoint.parse(sign_checkpoint(HEAD, key=LOG))
    assert verify_line(signed.checkpoint, signed.signatures[0], log_key(ORIGIN, LOG.public_bytes)) is None


def test_a_cosignature_states_its_time_and_signs_it() -> None:
    line = cosign(HEAD, name="w.example/1", key=WITNESS, timestamp=1679315147)
    key = witness_key("w.example/1", WITNESS.public_bytes)
    assert verify_line(HEAD, line, key) == 1679315147
    later = type(line)(name=line.name, key_id=line.key_id, blob=(1679315148).to_bytes(8, "big") + line.blob[8:])
    with pytest.raises(BadSignature):
        verify_line(HEAD, later, key)


def test_the_cosigned_message_is_the_documents() -> None:
    line = cosign(HEAD, name="w.example/1", key=WITNESS, timestamp=7)
    assert line.blob[8:] == WITNESS.sign(b"cosignature/v1\ntime 7\n" + HEAD.text().encode())


@pytest.mark.skipif(not mldsa_available(), reason="this cryptography library has no ML-DSA-44")
def test_a_hybrid_checkpoint_verifies_with_both_keys() -> None:
    mldsa = MlDsaKey(b"\x03" * 32)
    signed = SignedCheckpoint.parse(sign_checkpoint(HEAD, key=LOG, mldsa=mldsa, timestamp=9))
    classic, post_quantum = signed.signatures
    assert verify_line(HEAD, classic, log_key(ORIGIN, LOG.public_bytes)) is None
    assert verify_line(HEAD, post_quantum, mldsa_key(ORIGIN, mldsa.public_bytes)) == 9
    other = Checkpoint(origin=ORIGIN, size=HEAD.size + 1, root=HEAD.root)
    with pytest.raises(BadSignature):
        verify_line(other, post_quantum, mldsa_key(ORIGIN, mldsa.public_bytes))


@pytest.mark.skipif(not mldsa_available(), reason="this cryptography library has no ML-DSA-44")
def test_the_ml_dsa_message_names_the_cosigner_the_origin_and_the_whole_tree() -> None:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

    mldsa = MlDsaKey(b"\x03" * 32)
    line = cosign_mldsa(HEAD, name="w", key=mldsa, timestamp=5)
    message = (
        b"subtree/v1\n\x00"
        b"\x01w"
        + (5).to_bytes(8, "big")
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + bytes(8)
        + HEAD.size.to_bytes(8, "big")
        + HEAD.root
    )
    MLDSA44PublicKey.from_public_bytes(mldsa.public_bytes).verify(line.blob[8:], message)
    assert len(line.blob) == 8 + 2420
    assert repr(mldsa) == "MlDsaKey()"


@pytest.mark.parametrize(
    "key",
    [
        log_key(ORIGIN, WITNESS.public_bytes),
        log_key("other.example", LOG.public_bytes),
        witness_key(ORIGIN, LOG.public_bytes),
    ],
)
def test_a_line_by_another_key_is_refused(key: VerifierKey) -> None:
    signed = SignedCheckpoint.parse(sign_checkpoint(HEAD, key=LOG))
    with pytest.raises(BadSignature):
        verify_line(HEAD, signed.signatures[0], key)


def test_a_signature_under_a_borrowed_name_and_id_is_refused() -> None:
    key = log_key(ORIGIN, LOG.public_bytes)
    forged = SignedCheckpoint.parse(sign_checkpoint(HEAD, key=WITNESS)).signatures[0]
    with pytest.raises(BadSignature):
        verify_line(HEAD, type(forged)(name=key.name, key_id=key.key_id, blob=forged.blob), key)


def test_a_verifier_key_survives_its_text_form() -> None:
    for key in (log_key(ORIGIN, LOG.public_bytes), witness_key("w", WITNESS.public_bytes)):
        assert VerifierKey.parse(key.encode()) == key
    plus = next(
        key
        for seed in range(256)
        if "+" in (key := log_key("x", SigningKey.from_seed(bytes([seed]) * 32).public_bytes)).encode().split("+", 2)[2]
    )
    assert VerifierKey.parse(plus.encode()) == plus


def test_the_key_id_is_the_documents() -> None:
    key = log_key(ORIGIN, LOG.public_bytes)
    assert key.key_id == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + LOG.public_bytes).digest()[:4]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        "name+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
        "name+"
        + log_key("name", bytes(32)).key_id.hex().upper()
        + "+"
        + base64.b64encode(b"\x01" + bytes(32)).decode(),
        "a b" + log_key("ab", bytes(32)).encode()[2:],
        "name+00000000+" + base64.b64encode(b"\x09" + bytes(32)).decode(),
        "name+00000000+" + base64.b64encode(b"\x01" + bytes(31)).decode(),
        "name+00000000+AQ",
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedNote):
        VerifierKey.parse(text)


GOOD = sign_checkpoint(HEAD, key=LOG)


@pytest.mark.parametrize(
    "note",
    [
        "",
        GOOD[:-1],
        GOOD + GOOD.rpartition("\n\n")[2],
        GOOD.replace("—", "-"),
        GOOD.replace("\n\n", "\n"),
        GOOD.replace("\n20852163\n", "\n020852163\n"),
        GOOD.replace("\n20852163\n", "\n-1\n"),
        GOOD.replace("\n20852163\n", "\n99999999999999999999\n"),
        GOOD.replace("\n20852163\n", "\n٣\n"),
        GOOD.replace(ORIGIN, ""),
        GOOD.replace(ORIGIN, "with space"),
        GOOD.replace(ORIGIN, "with\u2028separator"),
        GOOD.replace(ORIGIN, "with\u202edirection"),
        GOOD.replace(ORIGIN, "with\ttab"),
        GOOD.replace("\n\n", "\nextension\n\n"),
        GOOD.replace("Hh8=", "Hh9="),
        GOOD.replace("\n\n", "\n\n— name AAAA\n"),
        GOOD.partition("\n\n")[0] + "\n\n",
        GOOD + "— name AAAAAAAA" * 70_000 + "\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(note: str) -> None:
    assert note != GOOD
    with pytest.raises(MalformedNote):
        SignedCheckpoint.parse(note)


def test_a_note_text_may_hold_empty_lines_but_a_checkpoint_may_not() -> None:
    text = "one\n\ntwo\n"
    note = text + "\n" + GOOD.rpartition("\n\n")[2]
    assert Note.parse(note).text == text
    assert Note.parse(note).render() == note
    with pytest.raises(MalformedNote):
        SignedCheckpoint.parse(note)


def test_a_cosignature_line_joins_a_checkpoint() -> None:
    line = cosign(HEAD, name="w.example/1", key=WITNESS, timestamp=1).render()
    joined = SignedCheckpoint.parse(GOOD).with_line(line)
    assert joined.render() == GOOD + line
    with pytest.raises(MalformedNote):
        joined.with_line(line)


def test_bounds_are_checked_before_anything_is_signed() -> None:
    with pytest.raises(InvalidInput):
        cosign(HEAD, name="w", key=WITNESS, timestamp=2**63)
    with pytest.raises(InvalidInput):
        cosign(HEAD, name="w", key=WITNESS, timestamp=-1)
    with pytest.raises(MalformedNote):
        Checkpoint(origin=ORIGIN, size=-1, root=bytes(32))
    with pytest.raises(MalformedNote):
        Checkpoint(origin=ORIGIN, size=1, root=bytes(31))
    with pytest.raises(InvalidInput):
        MlDsaKey(b"short")


def test_the_publicly_known_key_signs_no_checkpoint_for_us() -> None:
    key = VerifierKey(name=ORIGIN, algorithm=Algorithm.ED25519, public=KNOWN_DEVELOPMENT_KEY)
    signed = SignedCheckpoint.parse(sign_checkpoint(HEAD, key=LOG))
    line = type(signed.signatures[0])(name=key.name, key_id=key.key_id, blob=signed.signatures[0].blob)
    with pytest.raises(BadSignature):
        verify_line(HEAD, line, key)
