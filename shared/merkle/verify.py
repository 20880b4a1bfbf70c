"""Check proofs without the tree: RFC 9162 §2.1.3.2 and §2.1.4.2.

Sizes and indexes come from a signed checkpoint and the caller, never from the proof. Every path element must be used up
and 32 bytes long; what is left over or missing refuses the proof.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from shared.kernel.errors import IntegrityFault
from shared.merkle.hashing import EMPTY_ROOT, HASH_BYTES, node_hash


class InvalidProof(IntegrityFault):
    """The proof does not show what it claims to show."""

    code = "invalid_proof"


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Accept that the leaf hash `leaf` stands at `index` in the tree of `size` leaves with this root, or raise `InvalidProof`."""
    if not 0 <= index < size:
        raise InvalidProof("the leaf index is not below the tree size")
    _check_lengths([leaf, root, *proof])
    node, last = index, size - 1
    computed = leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof("the inclusion proof is too long")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:  # the right edge: skip the levels where this node has no sibling
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise InvalidProof("the inclusion proof is too short")
    _check_root(computed, root, "the inclusion proof leads to another root")


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Accept that the old tree is a prefix of the new one, or raise `InvalidProof`.

    From size 0 there is nothing to prove: the old root must be that of the empty tree and the proof empty.
    """
    if not 0 <= old_size <= new_size:
        raise InvalidProof("the old size exceeds the new one")
    _check_lengths([old_root, new_root, *proof])
    if old_size == 0:
        _check_root(EMPTY_ROOT, old_root, "the old root is not that of the empty tree")
    if new_size == 0:
        _check_root(EMPTY_ROOT, new_root, "the new root is not that of the empty tree")
    if old_size in (0, new_size):
        if proof:
            raise InvalidProof("the consistency proof must be empty here")
        if old_size == new_size:
            _check_root(old_root, new_root, "equal sizes with different roots")
        return
    _climb(old_size, new_size, old_root, new_root, list(proof))


def _climb(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> None:
    if old_size.bit_count() == 1:  # a power of two is a complete subtree: the verifier already holds its root
        path.insert(0, old_root)
    if not path:
        raise InvalidProof("the consistency proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise InvalidProof("the consistency proof is too short")
    _check_root(old, old_root, "the consistency proof leads to another old root")
    _check_root(new, new_root, "the consistency proof leads to another new root")


def _check_lengths(hashes: Sequence[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise InvalidProof("a proof holds something that is not a 32-byte hash")


def _check_root(computed: bytes, root: bytes, message: str) -> None:
    if not hmac.compare_digest(computed, root):
        raise InvalidProof(message)
