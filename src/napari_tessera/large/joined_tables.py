"""Tables of the objects of tiles, put together as their objects were."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from napari_tessera.large.joining import Numbering, Piece
from napari_tessera.large.tiles import Tile
from napari_tessera.spec import Table

CORNER = re.compile(r"box_([zyx])[01]")


def join_tables(
    tables: Sequence[Table], pieces: Sequence[Piece], grid: Sequence[Tile], numbering: Numbering, final: np.ndarray
) -> Table:
    """Say of each object what the tile said that holds most of it.

    Parameters
    ----------
    tables : sequence of table
        What the method said of the objects 1…N of each tile; empty ones if it said nothing.
    pieces : sequence of Piece
        The objects that each tile found.
    grid : sequence of Tile
    numbering : Numbering
        How objects of different tiles belong together.
    final : array
        New number of each object, after an unused entry 0; 0 if it was dropped.

    Returns
    -------
    dict of str to array
        One row per object, without its number; boxes are counted from the image's first pixel.
    """
    names = [name for name in tables[0] if name != "label"] if all(tables) else []
    if not names:
        return {}
    moved = [_in_image(table, tile) for table, tile in zip(tables, grid, strict=True)]
    starts = np.cumsum([0, *(len(table["label"]) for table in tables[:-1])])
    rows = np.concatenate([start + piece.numbers - 1 for start, piece in zip(starts, pieces, strict=True)])
    numbers = np.concatenate(
        [final[numbering.groups[piece.numbers + numbering.offsets[piece.place] - 1] + 1] for piece in pieces]
    )
    order = np.argsort(np.concatenate([piece.sizes for piece in pieces]), kind="stable")
    order = order[numbers[order] > 0]
    chosen = np.zeros(int(final.max(initial=0)), np.intp)
    chosen[numbers[order] - 1] = rows[order]  # of several, the last and largest stays
    return {name: np.concatenate([table[name] for table in moved])[chosen] for name in names}


def _in_image(table: Table, tile: Tile) -> Table:
    """Count the corners of boxes from the image's first pixel."""
    starts = {axis: part.start for axis, part in zip("zyx"[-len(tile.read) :], tile.read, strict=True)}
    return {
        name: column + starts[found[1]] if (found := CORNER.fullmatch(name)) else column
        for name, column in table.items()
    }
