"""Tiles: the log cut into cacheable files of 256 hashes. Source: c2sp.org/tlog-tiles.

A tile is a view of nodes already stored: hash j of tile (L, t) is the root of the perfect subtree (8L, 256t + j). A full
tile never changes; a partial one is superseded as the log grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.kernel.errors import InvalidInput
from shared.merkle.positions import subtree_position

TILE_WIDTH = 256
TILE_HEIGHT = 8
MAX_LEVEL = 7  # 8 levels of 8 bits address more leaves than a checkpoint can count
ENTRIES = "entries"
_PATH = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_MAX_NUMBER = 2**55


class BadTilePath(InvalidInput):
    """The path names no tile, or spells one in another than the canonical way."""

    code = "bad_tile_path"


@dataclass(frozen=True)
class Tile:
    """One tile: `level` 0…7, or None for the tile of entries (leaf data); `width` hashes, 256 when full."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read `tile/<L>/<N>[.p/<W>]`, with N in groups such as x001/234. Raises `BadTilePath`."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise BadTilePath("a tile path reads tile/<level>/<number>[.p/<width>]", field="path")
        level, groups, width = match.groups()
        if len(groups) > 32:
            raise BadTilePath("the tile number is too large", field="path")
        number = int(groups.replace("x", "").replace("/", ""))
        tile = cls(level=None if level == ENTRIES else int(level), number=number, width=int(width or TILE_WIDTH))
        if tile.path != path or number >= _MAX_NUMBER:  # leading zero groups, .p/256, numbers beyond any log
            raise BadTilePath("the tile path is not in canonical form", field="path")
        return tile

    @property
    def path(self) -> str:
        """The canonical path."""
        groups = [f"{self.number % 1000:03d}"]
        rest = self.number // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{ENTRIES if self.level is None else self.level}/{'/'.join(groups)}{suffix}"

    def exists_at(self, size: int) -> bool:
        """Return whether a log of `size` leaves serves this tile: full, or no wider than what there is."""
        return self.width <= available_width(self.level or 0, self.number, size)

    def leaf_range(self) -> range:
        """Return the leaf indexes of an entries tile."""
        return range(self.number * TILE_WIDTH, self.number * TILE_WIDTH + self.width)


def available_width(level: int, number: int, size: int) -> int:
    """Return how many hashes tile (level, number) holds at `size` leaves: 0 to 256."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - number * TILE_WIDTH))


def tile_positions(tile: Tile) -> list[int]:
    """Return the node positions of a hash tile, in order. Raises `BadTilePath` for an entries tile, which has none."""
    if tile.level is None:
        raise BadTilePath("a tile of entries holds leaf data, not nodes", field="path")
    first = tile.number * TILE_WIDTH
    return [subtree_position(TILE_HEIGHT * tile.level, first + offset) for offset in range(tile.width)]


def encode_entries(entries: Iterable[bytes]) -> bytes:
    """Return the body of an entries tile: each entry after its length as two big-endian bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
