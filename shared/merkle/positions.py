"""Where nodes stand in the array: 0-based, post-order, leaves and parents interleaved.

A perfect subtree of height h is named by its index: (h, x) covers the leaves x·2^h … (x+1)·2^h - 1. Nodes never move
and are never rewritten, so a position is a name for ever.
"""

from __future__ import annotations


def node_count(size: int) -> int:
    """Return how many nodes a log of `size` leaves has."""
    return 2 * size - size.bit_count()


def leaf_position(index: int) -> int:
    """Return the node position of the leaf at `index`."""
    return 2 * index - index.bit_count()


def subtree_position(height: int, index: int) -> int:
    """Return the position of the root of the perfect subtree (height, index)."""
    last_leaf = ((index + 1) << height) - 1
    return leaf_position(last_leaf) + height


def peak_positions(size: int) -> list[int]:
    """Return the positions of the peaks, left (tallest) to right: one for each 1-bit of `size`."""
    return cover(0, size)


def cover(start: int, end: int) -> list[int]:
    """Return the roots of the perfect subtrees that tile the leaves [start, end), left to right.

    `start` must be a multiple of the largest power of two that fits into the range, as every range in an RFC 6962 proof is.
    """
    positions = []
    for height in reversed(range((end - start).bit_length())):
        if (end - start) >> height & 1:
            positions.append(subtree_position(height, start >> height))
            start += 1 << height
    return positions
