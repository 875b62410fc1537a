"""Detect the objects of an image of any size, tile after tile.

Tiles overlap, so that an object that one of them cuts is whole in another. Memory holds a few tiles at a time, and of
each object found a mask of m×m points.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from napari_tessera.bands import in_background
from napari_tessera.errors import lacks_memory
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.grid import Grid
from napari_tessera.large.predict import MOST_READ_PX, SMALLER_TILES, reader_and_worker, waited_for
from napari_tessera.large.rescale import Read, read_window
from napari_tessera.nn.joined_detections import Tile, join, join_marked
from napari_tessera.telling import WARNING, say_once

if TYPE_CHECKING:
    from napari_tessera.nn.detecting import Detector
    from napari_tessera.nn.detections import Detections

SMALLEST_TILE_PX = 64
"""Side, overlap not counted, below which a tile is not made smaller for lack of memory."""


def detect(
    network: Detector,
    grid: Grid,
    read: Read,
    *,
    lowest_score: float = 0.0,
    tile_px: int | None = None,
) -> Job[Detections]:
    """Detect the objects of a plane.

    Parameters
    ----------
    network : Detector
    grid : Grid
        The network's pixels over the image.
    read : callable
        Gives the network's channels of a window of the image, float32 (C, Y, X); it is called from one other thread,
        for one window at a time.
    lowest_score : float
        Detections below it are left out.
    tile_px : int, optional
        Side of a tile without its overlap, in network pixels; by default as large as time and memory allow. After an
        out-of-memory error it is halved.

    Returns
    -------
    Detections
        Highest score first, in pixels of the image.

    Raises
    ------
    OutOfMemory
        If memory does not suffice for the smallest tiles.
    RunError
        If the network fails otherwise.

    Notes
    -----
    Closing the job returns at once; a tile that is being computed is finished in the background and forgotten.
    """
    side = largest_tile(network, grid) if tile_px is None else min(tile_px, max(grid.size))
    while True:
        try:
            found = yield from _detect_and_join(network, grid, read, side, lowest_score)
            break
        except Exception as error:
            if side <= SMALLEST_TILE_PX or not lacks_memory(error):
                raise
        gc.collect()  # the error's traceback may hold what the tile had taken
        wanted, side = side, max(SMALLEST_TILE_PX, side // 2)
        say_once(SMALLER_TILES.format(wanted=wanted, side=side), WARNING)
    return found.scaled(*grid.scale).moved(*grid.origin)


def _detect_and_join(network: Detector, grid: Grid, read: Read, side: int, lowest_score: float) -> Job[Detections]:
    """Look into all tiles, and once more around objects that none of them holds whole."""
    tiles = tiles_over(grid.size, side, network.overlap_px, network.step)
    threshold = network.settings.box_nms_thresh
    found = yield from part_of(_detect_tiles(network, grid, read, tiles, lowest_score), 0, 8, 10)
    joining = in_background(partial(join_marked, found, grid.size, threshold), "Joining tiles")
    joined, is_cut = yield from part_of(joining, 8, 0.5, 10)
    more = tiles_around(joined.boxes[is_cut].tolist(), tiles[0], grid.size, network.step)[: len(tiles)]
    if not more:
        return joined
    found += yield from part_of(_detect_tiles(network, grid, read, more, lowest_score), 8.5, 1, 10)
    joining_again = in_background(partial(join, found, grid.size, threshold), "Joining tiles")
    return (yield from part_of(joining_again, 9.5, 0.5, 10))


def largest_tile(network: Detector, grid: Grid) -> int:
    """Return the largest side of a tile, without its overlap, that time and memory allow."""
    at_once = min(network.pixels_at_once(), MOST_READ_PX * grid.share)
    return max(SMALLEST_TILE_PX, int(at_once**0.5) - network.overlap_px)


def tiles_over(size: Sequence[int], side: int, overlap: int, step: int) -> list[Tile]:
    """Cover a grid of `size` with tiles that share `overlap` pixels with their neighbours.

    Parameters
    ----------
    size : (Y, X)
    side : int
        Of a tile without its overlap; tiles are made as even as the step allows, and no larger than this, rounded up.
    overlap, step : int
        Tiles begin at multiples of `step`, where the network's pooling begins anew.

    Examples
    --------
    >>> [(tile.left, tile.width) for tile in tiles_over((64, 400), side=128, overlap=64, step=64)]
    [(0, 192), (128, 192), (256, 144)]
    """
    rows, columns = (_cuts(length, side, overlap, step) for length in size)
    cut = itertools.product(rows, columns)
    return [Tile(top, left, bottom - top, right - left) for (top, bottom), (left, right) in cut]


def _cuts(length: int, side: int, overlap: int, step: int) -> list[tuple[int, int]]:
    own = max(1, length - overlap)
    apart = ceil(own / ceil(own / side) / step) * step
    return [(start, min(length, start + apart + overlap)) for start in range(0, own, apart)]


def tiles_around(boxes: Sequence[Sequence[float]], like: Tile, size: Sequence[int], step: int) -> list[Tile]:
    """Lay tiles over a grid of `size` so that each of the boxes (x0, y0, x1, y1) lies in the middle of one, or nearly.

    Examples
    --------
    >>> tiles_around([[190, 5, 210, 9], [195, 20, 230, 40]], Tile(0, 0, 64, 128), (64, 400), step=64)
    [Tile(top=0, left=128, height=64, width=128)]
    """
    tiles: list[Tile] = []
    for x0, y0, x1, y1 in boxes:
        top, left = (
            min(max(0, round((low + high - side) / 2 / step) * step), max(0, length - side))
            for low, high, side, length in ((y0, y1, like.height, size[0]), (x0, x1, like.width, size[1]))
        )
        around = Tile(top, left, min(like.height, size[0]), min(like.width, size[1]))
        if around not in tiles:
            tiles.append(around)
    return tiles


def _detect_tiles(
    network: Detector, grid: Grid, read: Read, tiles: Sequence[Tile], lowest_score: float
) -> Job[list[tuple[Tile, Detections]]]:
    """Look into tile after tile in one thread, while another one reads what comes next."""
    found = []
    with reader_and_worker() as (reading, computing):
        coming = [reading.submit(_read_tile, read, grid, tiles[0])]
        for done, tile in enumerate(tiles):
            step = Progress(done, len(tiles), f"Tile {done + 1} of {len(tiles)} on {network.device.title}")
            image = yield from waited_for(coming.pop(), step)
            if done + 1 < len(tiles):
                coming.append(reading.submit(_read_tile, read, grid, tiles[done + 1]))
            looking = computing.submit(network.detect, image, lowest_score)
            found.append((tile, (yield from waited_for(looking, step))))
    return found


def _read_tile(read: Read, grid: Grid, tile: Tile) -> np.ndarray:
    window = [(tile.top, tile.top + tile.height), (tile.left, tile.left + tile.width)]
    return read_window(read, grid, window)
