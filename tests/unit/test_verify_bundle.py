"""The offline verifier: what it accepts, and that nothing altered gets past it unnamed."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.kernel.canonical_json import NotCanonical, canonical_bytes
from shared.kernel.commitments import StreamChain, chain_of, commit, commit_stream
from shared.kernel.errors import InvalidInput
from shared.kernel.signing import KNOWN_DEVELOPMENT_KEY, SigningKey, key_id_of
from shared.merkle.checkpoint import (
    Checkpoint,
    MlDsaKey,
    SignedCheckpoint,
    cosign,
    log_key,
    mldsa_available,
    mldsa_key,
    sign_checkpoint,
    witness_key,
)
from shared.merkle.hashing import leaf_hash
from shared.merkle.tree import append, consistency_proof, inclusion_proof, root_at
from shared.receipts.verify import EXIT_CODES, CheckName, Outcome, render_bundle, verify_bundle

ORIGIN = "log.example/receipts"
SIGNER, LOG, WITNESS, STRANGER = (SigningKey.from_seed(bytes([seed]) * 32) for seed in (1, 2, 3, 4))
LOG_VKEY = log_key(ORIGIN, LOG.public_bytes).encode()
WITNESS_VKEY = witness_key("witness.example/1", WITNESS.public_bytes).encode()
STRANGER_VKEY = witness_key("stranger.example", STRANGER.public_bytes).encode()
SALT_IN, SALT_OUT = b"\x0a" * 32, b"\x0b" * 32
INDEX, SIZE, ANCHORED = 5, 11, 21
PROMPT, CHUNKS = "what is 2+2? ❓".encode(), [b"data: 4\n\n", b"data: [DONE]\n\n"]

Bundle = dict[str, Any]


def body() -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "receipt_id": "rcpt_1",
        "run_id": "run_1",
        "kind": "job",
        "tokens_out": 7,
        "used_fallback": False,
        "signer_kid": SIGNER.kid,
        "input_commitment": commit(SALT_IN, PROMPT).hex(),
        "output_commitment": commit_stream(SALT_OUT, chain_of("run_1", CHUNKS)).hex(),
    }


def nodes_with(receipt_hash: bytes) -> Mapping[int, bytes]:
    entries = [hashlib.sha256(bytes([index])).digest() for index in range(ANCHORED)]
    entries[INDEX] = receipt_hash
    return dict(append(0, (), [leaf_hash(entry) for entry in entries]).nodes)


def reader(nodes: Mapping[int, bytes]) -> Callable[[Sequence[int]], Mapping[int, bytes]]:
    return lambda positions: {position: nodes[position] for position in positions}


def cosigned(note: str, *, key: SigningKey = WITNESS, name: str = "witness.example/1") -> str:
    signed = SignedCheckpoint.parse(note)
    return note + cosign(signed.checkpoint, name=name, key=key, timestamp=1_700_000_000).render()


def sample(fields: dict[str, Any] | None = None) -> Bundle:
    content = fields or body()
    receipt_hash = hashlib.sha256(canonical_bytes(content)).digest()
    read = reader(nodes_with(receipt_hash))
    heads = {size: Checkpoint(origin=ORIGIN, size=size, root=root_at(size, read)) for size in (SIZE, ANCHORED)}
    return {
        "bundle_version": 1,
        "receipt": {
            "body": content,
            "receipt_hash": receipt_hash.hex(),
            "signature": SIGNER.sign(receipt_hash).hex(),
            "signer_kid": SIGNER.kid,
        },
        "keys": {"signer": SIGNER.public_bytes.hex(), "log": [LOG_VKEY], "witnesses": [WITNESS_VKEY]},
        "inclusion": {
            "leaf_index": INDEX,
            "tree_size": SIZE,
            "proof": [digest.hex() for digest in inclusion_proof(INDEX, SIZE, read)],
            "root": heads[SIZE].root.hex(),
        },
        "checkpoint": sign_checkpoint(heads[SIZE], key=LOG),
        "anchors": [
            {
                "target": "witness",
                "checkpoint": cosigned(sign_checkpoint(heads[ANCHORED], key=LOG)),
                "consistency": {
                    "from_size": SIZE,
                    "to_size": ANCHORED,
                    "proof": [digest.hex() for digest in consistency_proof(SIZE, ANCHORED, read)],
                },
            }
        ],
        "disclosure": {
            "input": {"salt": SALT_IN.hex(), "bytes_b64": base64.b64encode(PROMPT).decode()},
            "output": {"salt": SALT_OUT.hex(), "chunks_b64": [base64.b64encode(chunk).decode() for chunk in CHUNKS]},
        },
    }


def trust() -> dict[str, Any]:
    return {
        "trust_version": 1,
        "origin": ORIGIN,
        "log_keys": [LOG_VKEY],
        "signer_keys": [{"kid": SIGNER.kid, "public_key": SIGNER.public_bytes.hex(), "valid_from_index": 0}],
        "witness_keys": [WITNESS_VKEY],
        "witness_quorum": 1,
    }


TRUST = json.dumps(trust()).encode()
SAMPLE = render_bundle(sample())


def failing(bundle: Bundle | bytes, pins: dict[str, Any] | bytes | None = TRUST) -> CheckName | None:
    """The first check that fails; its exit code must be that check's own."""
    raw = bundle if isinstance(bundle, bytes) else render_bundle(bundle)
    report = verify_bundle(raw, json.dumps(pins).encode() if isinstance(pins, dict) else pins)
    if report.failure is None:
        assert report.exit_code in (0, 3)
        return None
    assert report.exit_code == EXIT_CODES[report.failure.name] >= 10
    assert report.failure.detail
    return report.failure.name


def test_a_whole_bundle_holds_and_says_what_nobody_checked() -> None:
    report = verify_bundle(SAMPLE, TRUST)
    assert report.exit_code == 0
    assert [line.name for line in report.lines] == list(CheckName)
    assert {line.name for line in report.lines if line.outcome is Outcome.SKIPPED} == {CheckName.COSIGNATURES}
    assert any("supersedes" in note for note in report.not_checked)
    assert not any("opens no commitment" in note for note in report.not_checked)


def test_without_a_trust_file_a_consistent_bundle_is_only_self_asserted() -> None:
    report = verify_bundle(SAMPLE, None)
    assert report.exit_code == 3
    details = {line.name: line.detail for line in report.lines}
    assert details[CheckName.SIGNER_KEY] == "self-asserted, not pinned"
    assert report.not_checked[0].startswith("who holds the keys")


def test_every_exit_code_names_one_check() -> None:
    assert len(set(EXIT_CODES.values())) == len(CheckName)
    assert not {0, 1, 2, 3} & set(EXIT_CODES.values())


@pytest.mark.parametrize("pins", [TRUST, None], ids=["pinned", "self-asserted"])
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_one_flipped_byte_anywhere_is_refused_by_name(mask: int, pins: bytes | None) -> None:
    for at in range(len(SAMPLE)):
        altered = bytearray(SAMPLE)
        altered[at] ^= mask
        assert failing(bytes(altered), pins) is not None, f"byte {at} does not matter"


def test_a_missing_or_added_byte_is_refused() -> None:
    for at in range(0, len(SAMPLE), 7):
        assert failing(SAMPLE[:at]) is not None
        assert failing(SAMPLE[:at] + SAMPLE[at + 1 :]) is not None
        assert failing(SAMPLE[:at] + b" " + SAMPLE[at:]) is not None


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_never_raise(raw: bytes) -> None:
    assert failing(raw) is CheckName.PARSE
    assert failing(SAMPLE, raw) is CheckName.TRUST


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(path for key, member in members for path in paths(member, (*prefix, key)))]


@settings(max_examples=300)
@given(st.data())
def test_any_part_replaced_by_any_json_is_refused_and_never_raises(data: st.DataObject) -> None:
    for original, pinned in ((sample(), False), (trust(), True)):
        path = data.draw(st.sampled_from([path for path in paths(original) if path]))
        parent = original
        for key in path[:-1]:
            parent = parent[key]
        before = parent[path[-1]]
        parent[path[-1]] = data.draw(json_values)
        assume(json.dumps(parent[path[-1]]) != json.dumps(before))
        raw = (json.dumps(original, sort_keys=True, indent=1) + "\n").encode()
        report = verify_bundle(SAMPLE, raw) if pinned else verify_bundle(raw, TRUST)
        assert report.exit_code >= 10 or pinned or path in (("anchors",), ("disclosure",))


def altered(change: Callable[[Bundle], object]) -> Bundle:
    bundle = copy.deepcopy(sample())
    change(bundle)
    return bundle


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda b: b.update(extra=1), CheckName.PARSE),
        (lambda b: b["receipt"].update(extra=1), CheckName.PARSE),
        (lambda b: b["keys"].update(extra=1), CheckName.PARSE),
        (lambda b: b["inclusion"].update(extra=1), CheckName.PARSE),
        (lambda b: b["anchors"][0].update(extra=1), CheckName.PARSE),
        (lambda b: b["anchors"][0]["consistency"].update(extra=1), CheckName.PARSE),
        (lambda b: b["disclosure"].update(extra=1), CheckName.PARSE),
        (lambda b: b["disclosure"]["input"].update(extra=1), CheckName.PARSE),
        (lambda b: b["disclosure"]["output"].update(bytes_b64=""), CheckName.PARSE),
        (lambda b: b.update(bundle_version=2), CheckName.PARSE),
        (lambda b: b.update(bundle_version=True), CheckName.PARSE),
        (lambda b: b.pop("keys"), CheckName.PARSE),
        (lambda b: b["receipt"].update(receipt_hash=b["receipt"]["receipt_hash"].upper()), CheckName.PARSE),
        (lambda b: b["anchors"][0].update(target="evm"), CheckName.PARSE),
        (lambda b: b.update(anchors=b["anchors"] * 65), CheckName.PARSE),
        (lambda b: b["keys"].update(log=[LOG_VKEY, LOG_VKEY]), CheckName.PARSE),
        (lambda b: b["keys"].update(log=[WITNESS_VKEY]), CheckName.PARSE),
        (lambda b: b["receipt"]["body"].update(tokens_out=8), CheckName.RECEIPT_HASH),
        (lambda b: b["receipt"].update(signature="00" * 64), CheckName.SIGNATURE),
        (lambda b: b["receipt"].update(signer_kid=STRANGER.kid), CheckName.SIGNATURE),
        (lambda b: b["keys"].update(signer=STRANGER.public_bytes.hex()), CheckName.SIGNATURE),
        (lambda b: b["inclusion"].update(leaf_index=4), CheckName.INCLUSION),
        (lambda b: b["inclusion"].update(leaf_index=SIZE), CheckName.INCLUSION),
        (lambda b: b["inclusion"].update(tree_size=SIZE + 1), CheckName.INCLUSION),
        (lambda b: b["inclusion"].update(root="00" * 32), CheckName.INCLUSION),
        (lambda b: b["inclusion"]["proof"].pop(), CheckName.INCLUSION),
        (lambda b: b["inclusion"]["proof"].reverse(), CheckName.INCLUSION),
        (lambda b: b["keys"]["witnesses"].append(STRANGER_VKEY), CheckName.CHECKPOINT),
        (lambda b: b["keys"].update(witnesses=[]), CheckName.ANCHORS),
        (lambda b: b["anchors"][0].pop("consistency"), CheckName.ANCHORS),
        (lambda b: b["anchors"][0]["consistency"].update(to_size=SIZE), CheckName.ANCHORS),
        (lambda b: b["anchors"][0]["consistency"]["proof"].pop(), CheckName.ANCHORS),
        (lambda b: (b.pop("anchors"), b["keys"].update(witnesses=[])), CheckName.QUORUM),
        (lambda b: b["disclosure"]["input"].update(salt="00" * 32), CheckName.DISCLOSURE),
        (lambda b: b["disclosure"]["input"].update(bytes_b64="QUFB"), CheckName.DISCLOSURE),
        (lambda b: b["disclosure"]["output"]["chunks_b64"].reverse(), CheckName.DISCLOSURE),
        (lambda b: b["disclosure"]["output"]["chunks_b64"].append(""), CheckName.DISCLOSURE),
    ],
)
def test_each_alteration_is_refused_by_the_check_it_breaks(change: Callable[[Bundle], object], name: CheckName) -> None:
    assert failing(altered(change)) is name


def test_the_same_bundle_in_another_spelling_is_refused() -> None:
    for spelling in (json.dumps(sample()), json.dumps(sample(), sort_keys=True, indent=2) + "\n"):
        assert failing(spelling.encode()) is CheckName.CANONICAL
    assert (
        failing(SAMPLE.replace(b'"bundle_version": 1', b'"bundle_version": 1,\n "bundle_version": 1'))
        is CheckName.PARSE
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda t: t.update(extra=1), CheckName.TRUST),
        (lambda t: t.update(trust_version=2), CheckName.TRUST),
        (lambda t: t.update(witness_quorum=2), CheckName.TRUST),
        (lambda t: t.update(log_keys=[]), CheckName.TRUST),
        (lambda t: t["signer_keys"].append(t["signer_keys"][0]), CheckName.TRUST),
        (lambda t: t["signer_keys"][0].update(kid="0" * 32), CheckName.TRUST),
        (
            lambda t: t["signer_keys"][0].update(
                kid=key_id_of(KNOWN_DEVELOPMENT_KEY), public_key=KNOWN_DEVELOPMENT_KEY.hex()
            ),
            CheckName.TRUST,
        ),
        (lambda t: t["witness_keys"].append(witness_key("alias", WITNESS.public_bytes).encode()), CheckName.TRUST),
        (lambda t: t["witness_keys"].append(witness_key("self", LOG.public_bytes).encode()), CheckName.TRUST),
        (lambda t: t.update(signer_keys=[]), CheckName.SIGNER_KEY),
        (lambda t: t["signer_keys"][0].update(valid_from_index=INDEX + 1), CheckName.SIGNER_KEY),
        (lambda t: t["signer_keys"][0].update(valid_to_index=INDEX), CheckName.SIGNER_KEY),
        (lambda t: t.update(origin="other.example"), CheckName.CHECKPOINT),
        (lambda t: t.update(log_keys=[log_key(ORIGIN, STRANGER.public_bytes).encode()]), CheckName.CHECKPOINT),
        (lambda t: t.update(witness_keys=[STRANGER_VKEY]), CheckName.QUORUM),
    ],
)
def test_what_the_trust_file_does_not_pin_is_refused(change: Callable[[Bundle], object], name: CheckName) -> None:
    pins = trust()
    change(pins)
    assert failing(SAMPLE, pins) is name


def test_a_signer_key_counts_up_to_the_index_at_which_it_ends() -> None:
    pins = trust()
    pins["signer_keys"][0].update(valid_from_index=INDEX, valid_to_index=INDEX + 1)
    assert failing(SAMPLE, pins) is None


def test_a_forger_with_keys_of_his_own_passes_nothing_but_his_own_word() -> None:
    forged = sample()
    receipt_hash = bytes.fromhex(forged["receipt"]["receipt_hash"])
    forged["receipt"]["signature"] = STRANGER.sign(receipt_hash).hex()
    assert failing(forged) is CheckName.SIGNATURE  # the signed body names the signer's key
    fields = body() | {"signer_kid": STRANGER.kid}
    forged = sample(fields)
    receipt_hash = bytes.fromhex(forged["receipt"]["receipt_hash"])
    forged["receipt"].update(signer_kid=STRANGER.kid, signature=STRANGER.sign(receipt_hash).hex())
    forged["keys"]["signer"] = STRANGER.public_bytes.hex()
    assert failing(forged, None) is None
    assert failing(forged) is CheckName.SIGNER_KEY


def test_the_publicly_known_key_signs_no_receipt_even_unpinned() -> None:
    forged = sample(body() | {"signer_kid": key_id_of(KNOWN_DEVELOPMENT_KEY)})
    forged["receipt"]["signer_kid"] = key_id_of(KNOWN_DEVELOPMENT_KEY)
    forged["keys"]["signer"] = KNOWN_DEVELOPMENT_KEY.hex()
    assert failing(forged, None) is CheckName.SIGNATURE


def test_a_cosignature_on_the_checkpoint_itself_meets_the_quorum() -> None:
    bundle = sample()
    del bundle["anchors"]
    bundle["checkpoint"] = cosigned(bundle["checkpoint"])
    report = verify_bundle(render_bundle(bundle), TRUST)
    assert report.exit_code == 0
    details = {line.name: line.detail for line in report.lines}
    assert details[CheckName.COSIGNATURES] == "witness.example/1 at 2023-11-14T22:13:20+00:00 (pinned)"


def test_one_witness_seen_twice_counts_once() -> None:
    bundle = sample()
    bundle["checkpoint"] = cosigned(bundle["checkpoint"])
    pins = trust() | {"witness_keys": [WITNESS_VKEY, STRANGER_VKEY], "witness_quorum": 2}
    assert failing(bundle, pins) is CheckName.QUORUM
    bundle["checkpoint"] = cosigned(bundle["checkpoint"], key=STRANGER, name="stranger.example")
    bundle["keys"]["witnesses"].append(STRANGER_VKEY)
    assert failing(bundle, pins) is None
    assert failing(bundle) is None  # a witness that nobody pins is verified, and counts for nothing


def test_an_anchor_may_be_older_than_the_checkpoint_but_must_cover_the_receipt() -> None:
    read = reader(nodes_with(bytes.fromhex(sample()["receipt"]["receipt_hash"])))
    for size, expected in ((INDEX + 1, None), (INDEX, CheckName.ANCHORS)):
        bundle = sample()
        head = Checkpoint(origin=ORIGIN, size=size, root=root_at(size, read))
        proof = [digest.hex() for digest in consistency_proof(size, SIZE, read)]
        bundle["anchors"][0] = {
            "target": "witness",
            "checkpoint": cosigned(sign_checkpoint(head, key=LOG)),
            "consistency": {"from_size": size, "to_size": SIZE, "proof": proof},
        }
        assert failing(bundle) is expected


def test_an_anchor_of_the_same_size_needs_no_consistency_and_the_same_root() -> None:
    bundle = sample()
    bundle["anchors"][0] = {"target": "witness", "checkpoint": cosigned(bundle["checkpoint"])}
    assert failing(bundle) is None
    other = Checkpoint(origin=ORIGIN, size=SIZE, root=bytes(32))
    bundle["anchors"][0]["checkpoint"] = cosigned(sign_checkpoint(other, key=LOG))
    assert failing(bundle) is CheckName.ANCHORS


def test_an_anchor_of_another_log_or_without_a_witness_is_refused() -> None:
    bundle = sample()
    bundle["keys"]["witnesses"] = []
    bundle["anchors"][0] = {"target": "witness", "checkpoint": bundle["checkpoint"]}
    assert failing(bundle) is CheckName.ANCHORS
    bundle = sample()
    foreign = Checkpoint(origin="other.example", size=SIZE, root=bytes.fromhex(bundle["inclusion"]["root"]))
    bundle["keys"]["log"].append(log_key("other.example", LOG.public_bytes).encode())
    bundle["anchors"][0] = {"target": "witness", "checkpoint": cosigned(sign_checkpoint(foreign, key=LOG))}
    assert failing(bundle, None) is failing(bundle) is CheckName.ANCHORS


def test_a_signature_line_that_nobody_could_check_is_refused() -> None:
    bundle = sample()
    bundle["checkpoint"] = cosigned(bundle["checkpoint"], key=STRANGER, name="stranger.example")
    assert failing(bundle) is failing(bundle, None) is CheckName.CHECKPOINT


@pytest.mark.skipif(not mldsa_available(), reason="this cryptography library has no ML-DSA-44")
def test_one_key_cannot_be_both_the_log_and_its_witness() -> None:
    bundle = sample()
    mldsa = MlDsaKey(b"\x05" * 32)
    head = SignedCheckpoint.parse(bundle["checkpoint"]).checkpoint
    bundle["checkpoint"] = sign_checkpoint(head, key=LOG, mldsa=mldsa, timestamp=1)
    both = mldsa_key(ORIGIN, mldsa.public_bytes).encode()
    bundle["keys"] = bundle["keys"] | {"log": [LOG_VKEY, both], "witnesses": [WITNESS_VKEY, both]}
    assert failing(bundle, None) is CheckName.PARSE


@pytest.mark.skipif(not mldsa_available(), reason="this cryptography library has no ML-DSA-44")
def test_a_pinned_post_quantum_log_key_must_have_signed_too() -> None:
    mldsa = MlDsaKey(b"\x05" * 32)
    hybrid = mldsa_key(ORIGIN, mldsa.public_bytes).encode()
    pins = trust() | {"log_keys": [LOG_VKEY, hybrid], "witness_quorum": 0}
    bundle = sample()
    del bundle["anchors"]
    bundle["keys"]["witnesses"] = []
    assert failing(bundle, pins) is CheckName.CHECKPOINT
    head = SignedCheckpoint.parse(bundle["checkpoint"]).checkpoint
    bundle["checkpoint"] = sign_checkpoint(head, key=LOG, mldsa=mldsa, timestamp=1)
    bundle["keys"]["log"].append(hybrid)
    assert failing(bundle, pins) is None


def test_a_stream_and_32_plain_bytes_never_open_the_same_commitment() -> None:
    digest = chain_of("run_1", CHUNKS)
    assert commit(SALT_OUT, digest) != commit_stream(SALT_OUT, digest)
    bundle = sample()
    bundle["disclosure"]["output"] = {"salt": SALT_OUT.hex(), "bytes_b64": base64.b64encode(digest).decode()}
    assert failing(bundle) is CheckName.DISCLOSURE


def test_a_stream_without_a_run_cannot_be_disclosed() -> None:
    fields = body()
    del fields["run_id"]
    assert failing(sample(fields)) is CheckName.DISCLOSURE


def test_commitments_follow_the_written_rule() -> None:
    assert commit(SALT_IN, b"x") == hashlib.sha256(b"\x00" + SALT_IN + b"x").digest()
    h0 = hashlib.sha256(b"streamrun_1").digest()
    h1 = hashlib.sha256(h0 + hashlib.sha256(b"a").digest()).digest()
    chain = StreamChain("run_1")
    chain.absorb(b"a")
    assert (chain.digest, chain.chunks) == (h1, 1)
    assert chain_of("run_1", []) == h0
    assert chain_of("run_1", [b"ab"]) != chain_of("run_1", [b"a", b"b"])
    with pytest.raises(InvalidInput):
        commit(b"short", b"x")


def test_only_a_bundle_of_the_strict_profile_can_be_written() -> None:
    with pytest.raises(NotCanonical):
        render_bundle({"a": None})
