"""The log's tree: a Merkle Mountain Range whose root is the RFC 6962 tree head of the same leaves.

Peaks are bagged from the RIGHT with the left peak as left operand. Bagging from the left agrees for sizes with at most
two 1-bits and differs from n = 7 on, so small tests cannot tell the two apart; ours run to 200.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shared.kernel.errors import IntegrityFault, InvalidInput
from shared.merkle.hashing import EMPTY_ROOT, HASH_BYTES, node_hash
from shared.merkle.positions import cover, node_count

NodeReader: TypeAlias = Callable[[Sequence[int]], Mapping[int, bytes]]
"""Fetch the hashes at all of these positions at once: one query for a whole proof."""

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Appended:
    """The outcome of an append: what to store (`nodes`: position, hash; ascending) and the state after it."""

    size: int
    peaks: tuple[bytes, ...]
    nodes: list[tuple[int, bytes]]


def append(size: int, peaks: Sequence[bytes], leaf_hashes: Iterable[bytes]) -> Appended:
    """Add leaves to a log of `size` leaves with these peaks (left to right), reading no stored node.

    Raises `InvalidInput` when the peaks cannot belong to the size or a hash is not 32 bytes.
    """
    if size < 0 or len(peaks) != size.bit_count():
        raise InvalidInput("a log has one peak for each 1-bit of its size", field="peaks")
    stack = [_checked(peak) for peak in peaks]
    nodes: list[tuple[int, bytes]] = []
    position = node_count(size)
    for leaf in leaf_hashes:
        top = _checked(leaf)
        nodes.append((position, top))
        position += 1
        carry = size
        while carry & 1:  # each trailing 1-bit of the old size is a peak of equal height waiting for its sibling
            top = node_hash(stack.pop(), top)
            nodes.append((position, top))
            position += 1
            carry >>= 1
        stack.append(top)
        size += 1
    return Appended(size=size, peaks=tuple(stack), nodes=nodes)


def root_of(peaks: Sequence[bytes]) -> bytes:
    """Return the tree head of these peaks (left to right); of no peaks, SHA-256 of the empty string."""
    if not peaks:
        return EMPTY_ROOT
    bag = peaks[-1]
    for peak in reversed(peaks[:-1]):
        bag = node_hash(peak, bag)
    return bag


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Return the RFC 9162 §2.1.3.1 audit path of leaf `index` in the tree of `size` leaves, bottom up.

    `read` is called at most once. Raises `InvalidInput` for an index outside the tree, `IntegrityFault` when a node is missing.
    """
    if not 0 <= index < size:
        raise InvalidInput("the leaf index lies outside the tree", field="leaf_index")
    return _hashes(_inclusion_spans(index, size), read)


def consistency_proof(old_size: int, new_size: int, read: NodeReader) -> list[bytes]:
    """Return the RFC 9162 §2.1.4.1 proof that the tree of `old_size` is a prefix of that of `new_size`.

    Empty when the sizes are equal or the old tree is empty. `read` is called at most once. Raises as `inclusion_proof`.
    """
    if not 0 <= old_size <= new_size:
        raise InvalidInput("the old size must not exceed the new one", field="old_size")
    if old_size in (0, new_size):
        return []
    return _hashes(_consistency_spans(old_size, new_size), read)


def root_at(size: int, read: NodeReader) -> bytes:
    """Return the tree head the log had at `size` leaves, from its stored nodes. Raises `IntegrityFault` when one is missing."""
    return _hashes([(0, size)], read)[0] if size else EMPTY_ROOT


def _inclusion_spans(index: int, size: int) -> list[Span]:
    spans: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def _consistency_spans(old_size: int, new_size: int) -> list[Span]:
    spans: list[Span] = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    if start:  # the old tree is no complete left part of the new one: the verifier does not hold this subtree's root
        spans.append((start, end))
    return spans[::-1]


def _split(width: int) -> int:
    """Return the largest power of two below `width`: where RFC 6962 divides a tree."""
    return 1 << (width - 1).bit_length() - 1


def _hashes(spans: Sequence[Span], read: NodeReader) -> list[bytes]:
    covers = [cover(start, end) for start, end in spans]
    wanted = [position for positions in covers for position in positions]
    found = read(wanted) if wanted else {}
    if any(len(found.get(position, b"")) != HASH_BYTES for position in wanted):
        raise IntegrityFault("a stored node of the log is missing or malformed")
    return [root_of([found[position] for position in positions]) for positions in covers]


def _checked(value: bytes) -> bytes:
    if len(value) != HASH_BYTES:
        raise InvalidInput("a tree hash is 32 bytes", field="hash")
    return value
