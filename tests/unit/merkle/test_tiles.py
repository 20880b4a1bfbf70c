"""Tiles against the C2SP document and the tree they are a view of."""

from __future__ import annotations

import pytest

from shared.merkle.hashing import leaf_hash, node_hash
from shared.merkle.tiles import BadTilePath, Tile, available_width, encode_entries, tile_positions
from shared.merkle.tree import append


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("tile/0/000", Tile(level=0, number=0)),
        ("tile/0/000.p/1", Tile(level=0, number=0, width=1)),
        ("tile/1/x001/234", Tile(level=1, number=1234)),
        ("tile/2/x001/x234/067", Tile(level=2, number=1234067)),
        ("tile/0/x001/x234/067.p/255", Tile(level=0, number=1234067, width=255)),
        ("tile/entries/273.p/5", Tile(level=None, number=273, width=5)),
    ],
)
def test_a_path_names_one_tile_and_a_tile_has_one_path(path: str, tile: Tile) -> None:
    assert Tile.parse(path) == tile
    assert tile.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/1234",
        "tile/0/x000/001",
        "tile/0/001/234",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/x001/x234",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/" + "x999/" * 40 + "999",
        "tile/0/" + "x999/" * 5 + "999",
    ],
)
def test_any_other_spelling_is_refused(path: str) -> None:
    with pytest.raises(BadTilePath):
        Tile.parse(path)


def test_a_tile_holds_the_roots_of_its_subtrees() -> None:
    size = 256 * 3 + 7
    leaves = [leaf_hash(index.to_bytes(4, "big")) for index in range(size)]
    nodes = dict(append(0, (), leaves).nodes)
    assert [nodes[at] for at in tile_positions(Tile(level=0, number=1))] == leaves[256:512]
    assert [nodes[at] for at in tile_positions(Tile(level=0, number=3, width=7))] == leaves[768:]
    parents = [nodes[at] for at in tile_positions(Tile(level=1, number=0, width=3))]
    for number, parent in enumerate(parents):
        level = leaves[256 * number : 256 * (number + 1)]
        while len(level) > 1:
            level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
        assert [parent] == level


def test_a_tile_exists_only_as_far_as_the_log_reaches() -> None:
    size = 256 * 3 + 7
    assert [available_width(0, number, size) for number in range(5)] == [256, 256, 256, 7, 0]
    assert [available_width(1, number, size) for number in range(2)] == [3, 0]
    assert Tile(level=0, number=3, width=7).exists_at(size)
    assert Tile(level=0, number=3, width=2).exists_at(size)
    assert not Tile(level=0, number=3, width=8).exists_at(size)
    assert not Tile(level=0, number=3).exists_at(size)
    assert Tile(level=None, number=3, width=7).exists_at(size)


def test_entries_are_written_after_their_lengths() -> None:
    assert encode_entries([b"ab", bytes(32)]) == b"\x00\x02ab\x00\x20" + bytes(32)
    assert list(Tile(level=None, number=1, width=2).leaf_range()) == [256, 257]
    with pytest.raises(BadTilePath):
        tile_positions(Tile(level=None, number=0))
