"""The tree against published vectors, an independent library, and the text of RFC 6962."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pymerkle
import pytest

from shared.kernel.errors import IntegrityFault, InvalidInput
from shared.merkle.hashing import EMPTY_ROOT, leaf_hash, node_hash
from shared.merkle.positions import cover, leaf_position, node_count, peak_positions, subtree_position
from shared.merkle.tree import append, consistency_proof, inclusion_proof, root_at, root_of
from shared.merkle.verify import InvalidProof, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[2] / "vectors"
CT = json.loads((VECTORS / "rfc6962_mmr_kat.json").read_text())
KAT39 = json.loads((VECTORS / "kat39.json").read_text())
LARGEST = 200
POPCOUNT_TRAPS = [7, 11, 13, 14, 15, 21]  # three or more peaks: the sizes where the bagging order shows


class Log:
    """A log in memory that counts how often it is read."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.leaves = [leaf_hash(entry) for entry in entries]
        self.appended = append(0, (), self.leaves)
        self.nodes = dict(self.appended.nodes)
        self.reads = 0

    def read(self, positions: Sequence[int]) -> Mapping[int, bytes]:
        self.reads += 1
        return {position: self.nodes[position] for position in positions}

    def root(self, size: int) -> bytes:
        return root_at(size, self.read)


def entries_of(count: int) -> list[bytes]:
    return [hashlib.sha256(index.to_bytes(8, "big")).digest() for index in range(count)]


@pytest.fixture(scope="module")
def log() -> Log:
    return Log(entries_of(LARGEST))


@pytest.fixture(scope="module")
def peer() -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    tree.append_entries(entries_of(LARGEST))
    return tree


@pytest.fixture(scope="module")
def peer_roots(peer: pymerkle.InmemoryTree) -> list[bytes]:
    return [peer.get_root(size) for size in range(LARGEST + 1)]


def rfc6962_subproof(m: int, leaves: Sequence[bytes], complete: bool) -> list[bytes]:
    """RFC 6962 §2.1.2 word for word, over leaf hashes."""
    n = len(leaves)
    if m == n:
        return [] if complete else [rfc6962_head(leaves)]
    k = 1 << (n - 1).bit_length() - 1
    if m <= k:
        return [*rfc6962_subproof(m, leaves[:k], complete), rfc6962_head(leaves[k:])]
    return [*rfc6962_subproof(m - k, leaves[k:], False), rfc6962_head(leaves[:k])]


def rfc6962_head(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(rfc6962_head(leaves[:k]), rfc6962_head(leaves[k:]))


def test_the_certificate_transparency_vectors_hold() -> None:
    log = Log([bytes.fromhex(leaf) for leaf in CT["leaves_hex"]])
    assert [log.root(size).hex() for size in range(9)] == CT["roots_by_size"]
    assert [digest.hex() for _, digest in log.appended.nodes] == CT["mmr_nodes_by_position"]
    for case in CT["inclusion"]:
        proof = inclusion_proof(case["leaf"], case["size"], log.read)
        assert [digest.hex() for digest in proof] == case["path"]
    for case in CT["consistency"]:
        proof = consistency_proof(case["from"], case["to"], log.read)
        assert [digest.hex() for digest in proof] == case["path"]


def test_seven_leaves_are_not_bagged_from_the_left() -> None:
    log = Log([bytes.fromhex(leaf) for leaf in CT["leaves_hex"]])
    assert log.root(7).hex() != CT["left_to_right_bag_size7_WRONG"]


def test_positions_and_peaks_are_those_of_the_39_node_range() -> None:
    assert node_count(21) == len(KAT39["nodes"]) == 39
    for count, state in KAT39["accumulators_by_size"].items():
        size = next(size for size in range(1, 22) if node_count(size) == int(count))
        assert peak_positions(size) == state["peak_indices"]


def test_paths_inside_a_peak_are_those_of_the_39_node_range() -> None:
    checked = 0
    for start, height in ((0, 4), (16, 2), (20, 0)):  # the three peaks of 21 leaves
        for level in range(height + 1):
            for index in range(start >> level, (start >> level) + (1 << height - level)):
                path = [subtree_position(up, (index >> up - level) ^ 1) for up in range(level, height)]
                expected = KAT39["inclusion_path_indices_in_MMR39"][str(subtree_position(level, index))]
                assert path == expected
                checked += 1
    assert checked == 39


def test_roots_over_the_leaves_of_the_39_node_range_hold() -> None:
    log = Log([leaf_position(index).to_bytes(8, "big") for index in range(21)])
    roots = KAT39["rfc6962_variant"]["root_by_leafcount_right_to_left"]
    assert {str(size): log.root(size).hex() for size in range(22)} == roots


def test_every_root_is_the_independent_librarys(log: Log, peer_roots: list[bytes]) -> None:
    assert [log.root(size) for size in range(LARGEST + 1)] == peer_roots


def test_every_inclusion_proof_is_the_independent_librarys_and_verifies(
    log: Log, peer: pymerkle.InmemoryTree, peer_roots: list[bytes]
) -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, log.read)
            assert proof == peer.prove_inclusion(index + 1, size).path[1:]
            verify_inclusion(leaf=log.leaves[index], index=index, size=size, proof=proof, root=peer_roots[size])


def test_every_consistency_proof_verifies_against_the_independent_librarys_roots(
    log: Log, peer: pymerkle.InmemoryTree, peer_roots: list[bytes]
) -> None:
    for new_size in range(LARGEST + 1):
        new_root = peer_roots[new_size]
        for old_size in range(new_size + 1):
            old_root = peer_roots[old_size]
            proof = consistency_proof(old_size, new_size, log.read)
            verify_consistency(old_size=old_size, new_size=new_size, old_root=old_root, new_root=new_root, proof=proof)
    for old_size in range(1, LARGEST + 1):  # and the library's own proofs join the roots that we compute
        theirs = peer.prove_consistency(old_size, LARGEST)
        pymerkle.verify_consistency(log.root(old_size), log.root(LARGEST), theirs)


@pytest.mark.parametrize("new_size", [*POPCOUNT_TRAPS, 64, 65, 100])
def test_consistency_proofs_are_those_of_the_rfcs_text(log: Log, new_size: int) -> None:
    for old_size in range(1, new_size):
        expected = rfc6962_subproof(old_size, log.leaves[:new_size], complete=True)
        assert consistency_proof(old_size, new_size, log.read) == expected


@pytest.mark.parametrize("size", POPCOUNT_TRAPS)
def test_an_altered_inclusion_proof_is_refused(log: Log, size: int) -> None:
    root = log.root(size)
    for index in range(size):
        proof = inclusion_proof(index, size, log.read)
        for altered in alterations(proof):
            with pytest.raises(InvalidProof):
                verify_inclusion(leaf=log.leaves[index], index=index, size=size, proof=altered, root=root)
        wrong: list[dict[str, object]] = [
            {"leaf": log.leaves[index - 1]},
            {"root": log.root(size - 1)},
            {"index": size},
            {"index": -1},
            {"index": index ^ 1},
        ]
        for claim in wrong:
            honest: dict[str, object] = {
                "leaf": log.leaves[index],
                "index": index,
                "size": size,
                "proof": proof,
                "root": root,
            }
            with pytest.raises(InvalidProof):
                verify_inclusion(**(honest | claim))  # type: ignore[arg-type]


@pytest.mark.parametrize("new_size", POPCOUNT_TRAPS)
def test_an_altered_consistency_proof_is_refused(log: Log, new_size: int) -> None:
    for old_size in range(1, new_size):
        roots = {"old_root": log.root(old_size), "new_root": log.root(new_size)}
        proof = consistency_proof(old_size, new_size, log.read)
        for altered in alterations(proof):
            with pytest.raises(InvalidProof):
                verify_consistency(old_size=old_size, new_size=new_size, proof=altered, **roots)
        with pytest.raises(InvalidProof):
            verify_consistency(
                old_size=old_size,
                new_size=new_size,
                proof=proof,
                old_root=roots["new_root"],
                new_root=roots["new_root"],
            )


def alterations(proof: list[bytes]) -> list[list[bytes]]:
    flipped = [[*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]] for at in range(len(proof))]
    shorter = [proof[:-1], proof[1:]] if proof else []
    stunted = [[*proof[:-1], proof[-1][:31]]] if proof else []
    return [*flipped, *shorter, *stunted, [*proof, bytes(32)], [bytes(32), *proof]]


def test_equal_sizes_need_equal_roots_and_an_empty_proof(log: Log) -> None:
    root = log.root(9)
    verify_consistency(old_size=9, new_size=9, old_root=root, new_root=root, proof=[])
    with pytest.raises(InvalidProof):
        verify_consistency(old_size=9, new_size=9, old_root=root, new_root=log.root(8), proof=[])
    with pytest.raises(InvalidProof):
        verify_consistency(old_size=9, new_size=9, old_root=root, new_root=root, proof=[root])


def test_nothing_is_proven_from_the_empty_tree(log: Log) -> None:
    verify_consistency(old_size=0, new_size=9, old_root=EMPTY_ROOT, new_root=log.root(9), proof=[])
    claims: list[dict[str, object]] = [
        {"old_root": bytes(32)},
        {"proof": [bytes(32)]},
        {"new_size": 0},
        {"old_size": 10},
    ]
    for wrong in claims:
        honest: dict[str, object] = {
            "old_size": 0,
            "new_size": 9,
            "old_root": EMPTY_ROOT,
            "new_root": log.root(9),
            "proof": [],
        }
        with pytest.raises(InvalidProof):
            verify_consistency(**(honest | wrong))  # type: ignore[arg-type]


def test_appending_in_any_batches_gives_the_same_nodes_and_peaks(log: Log) -> None:
    for step in (1, 2, 3, 7, 64):
        size, peaks, nodes = 0, (), []  # type: int, tuple[bytes, ...], list[tuple[int, bytes]]
        while size < LARGEST:
            batch = append(size, peaks, log.leaves[size : size + step])
            size, peaks = batch.size, batch.peaks
            nodes += batch.nodes
        assert (size, peaks, nodes) == (LARGEST, log.appended.peaks, log.appended.nodes)


def test_nodes_are_written_in_ascending_positions_without_gaps(log: Log) -> None:
    assert [position for position, _ in log.appended.nodes] == list(range(node_count(LARGEST)))
    assert root_of(log.appended.peaks) == log.root(LARGEST)
    assert [log.nodes[position] for position in peak_positions(LARGEST)] == list(log.appended.peaks)
    assert [log.nodes[leaf_position(index)] for index in range(LARGEST)] == log.leaves


@pytest.mark.parametrize(
    "prove", [lambda read: inclusion_proof(5, 21, read), lambda read: consistency_proof(5, 21, read)]
)
def test_a_proof_reads_its_nodes_in_one_query(prove: Callable[[object], list[bytes]]) -> None:
    log = Log(entries_of(21))
    assert prove(log.read)
    assert log.reads == 1


def test_a_missing_node_stops_the_proof_instead_of_making_a_wrong_one() -> None:
    with pytest.raises(IntegrityFault):
        inclusion_proof(0, 2, lambda _positions: {})
    with pytest.raises(IntegrityFault):
        root_at(3, lambda positions: dict.fromkeys(positions, b"short"))


def test_what_lies_outside_the_tree_has_no_proof(log: Log) -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(InvalidInput):
            inclusion_proof(index, size, log.read)
    with pytest.raises(InvalidInput):
        consistency_proof(4, 3, log.read)
    assert consistency_proof(0, 3, log.read) == consistency_proof(3, 3, log.read) == []


def test_peaks_that_do_not_belong_to_the_size_are_refused(log: Log) -> None:
    with pytest.raises(InvalidInput):
        append(3, log.appended.peaks[:1], [])
    with pytest.raises(InvalidInput):
        append(0, (), [b"short"])


def test_the_empty_tree_has_the_hash_of_nothing_as_its_root() -> None:
    assert root_of(()) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert cover(0, 0) == peak_positions(0) == []
