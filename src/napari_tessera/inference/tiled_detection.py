"""Detect the objects of an image of any size tile by tile, and merge the detections of overlapping tiles.

Tiles overlap, so that an object cut by one tile is whole in another. Memory holds a few tiles at a time, and a mask of
m×m points for each object.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_tessera.core.jobs import Job, Progress, in_background, subtask
from napari_tessera.inference.pixel_grid import Grid, Read, read_window
from napari_tessera.inference.sliding_window import MOST_READ_PX, reader_and_worker, waited_for, with_smaller_tiles
from napari_tessera.models.mask_rcnn.boxes import areas, shared_areas
from napari_tessera.models.mask_rcnn.detections import Detections, DroppedProposals, suppress

if TYPE_CHECKING:
    from napari_tessera.inference.predictor import Detector


EDGE_PX = 1.5
"""A box that ends so near to the edge of its tile is taken as cut off by it."""
DEEPER_PX = 8
"""A detection that lies so much deeper inside its tile than another is the better one."""
COVERED = 0.5
"""Share of a cut box within a whole one from which both are taken as the same object."""


@dataclass(frozen=True)
class DetectionTile:
    """Part of an image: its first row and column, and its rows and columns."""

    top: int
    left: int
    height: int
    width: int

    def depths(self, boxes: Tensor, shape: Sequence[int]) -> Tensor:
        """Return how far inside the tile each box (N, 4), in pixels of the image, lies: (N,) px.

        Edges of the tile that are edges of the image do not count; a box that reaches beyond an edge has a negative
        depth.
        """
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        bottom, right = self.top + self.height, self.left + self.width
        depths = torch.full_like(x0, torch.inf)
        for is_inner, depth in (
            (self.top > 0, y0 - self.top),
            (self.left > 0, x0 - self.left),
            (bottom < shape[0], bottom - y1),
            (right < shape[1], right - x1),
        ):
            depths = torch.minimum(depths, depth) if is_inner else depths
        return depths


def join(
    found: Sequence[tuple[DetectionTile, Detections]], shape: Sequence[int], threshold: float
) -> tuple[Detections, Tensor]:
    """Join the detections of overlapping tiles, each in pixels of its tile, and return which no tile holds whole.

    Of detections in several tiles, the one that lies deepest inside its tile counts: there, nothing is cut off, and all
    around is known. Objects longer than the overlap of tiles may be whole in none of them, and come out in parts. From
    an overlap (IoU) of `threshold` on, the lower of two detections of a class is dropped. What was left out is added
    up.
    """
    together = beside_each_other([each.moved(tile.top, tile.left) for tile, each in found])
    tiles = [tile for tile, _ in found]
    numbers = [torch.full((len(each.boxes),), number) for number, (_, each) in enumerate(found)]
    own, deepest = _own_and_deepest(tiles, torch.cat(numbers).to(together.boxes.device), together.boxes, shape)
    is_seen_best = own >= deepest - DEEPER_PX
    together, is_cut = together.chosen(is_seen_best.nonzero()[:, 0]), own[is_seen_best] < EDGE_PX
    is_first = torch.where(is_cut, 0, 1)  # scores are at most 1, so every whole object comes before those cut off
    kept = suppress(together.boxes, together.scores + 2 * is_first, threshold, together.labels)
    whole, cut = kept[~is_cut[kept]], kept[is_cut[kept]]
    kept = torch.cat([whole, cut[~are_covered(together.chosen(cut), together.chosen(whole))]])
    kept = kept[together.scores[kept].argsort(descending=True, stable=True)]
    return together.chosen(kept), is_cut[kept]


def _own_and_deepest(
    tiles: Sequence[DetectionTile], numbers: Tensor, boxes: Tensor, shape: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return how deep each box lies in the tile that it was found in, and in the tile that has it deepest."""
    own, deepest = torch.full_like(boxes[:, 0], -torch.inf), torch.full_like(boxes[:, 0], -torch.inf)
    for number, tile in enumerate(tiles):
        depths = tile.depths(boxes, shape)
        own = torch.where(numbers == number, depths, own)
        deepest = torch.maximum(deepest, depths)
    return own, deepest


def beside_each_other(parts: Sequence[Detections]) -> Detections:
    """Return all objects of all parts, which are in pixels of the same image."""
    contrast = [each.contrast for each in parts if each.contrast is not None]
    return Detections(
        torch.cat([each.boxes for each in parts]),
        torch.cat([each.labels for each in parts]),
        torch.cat([each.scores for each in parts]),
        torch.cat([each.masks for each in parts]),
        sum((each.left for each in parts), start=DroppedProposals()),
        torch.cat(contrast) if len(contrast) == len(parts) else None,
    )


def are_covered(cut: Detections, whole: Detections) -> Tensor:
    """Return which of the cut detections lie mostly within a whole one of their class."""
    shared = shared_areas(cut.boxes, whole.boxes) / areas(cut.boxes)[:, None]
    return ((shared > COVERED) & (cut.labels[:, None] == whole.labels)).any(dim=1)


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
    """Detect the objects of a plane; the detections are in pixels of the image.

    Closing the job returns at once; a tile that is being computed is finished in the background and forgotten. The
    parameters and the errors are those of `sliding_window.predict`, but `tile_px` is the side of a tile without its
    overlap, and detections below `lowest_score` are left out.
    """
    side = largest_tile(network, grid) if tile_px is None else min(tile_px, max(grid.size))

    def detect_with(side: int) -> Job[Detections]:
        return _detect_and_join(network, grid, read, side, lowest_score)

    found = yield from with_smaller_tiles(detect_with, side, SMALLEST_TILE_PX)
    return found.scaled(*grid.scale).moved(*grid.origin)


def _detect_and_join(network: Detector, grid: Grid, read: Read, side: int, lowest_score: float) -> Job[Detections]:
    """Detect in all tiles, and once more around objects that none of them holds whole."""
    tiles = tiles_over(grid.size, side, network.overlap_px, network.step)
    threshold = network.settings.box_nms_thresh
    found = yield from subtask(_detect_tiles(network, grid, read, tiles, lowest_score), 0, 8, 10)
    joining = in_background(partial(join, found, grid.size, threshold), "Joining tiles")
    joined, is_cut = yield from subtask(joining, 8, 0.5, 10)
    more = tiles_around(joined.boxes[is_cut].tolist(), tiles[0], grid.size, network.step)[: len(tiles)]
    if not more:
        return joined
    found += yield from subtask(_detect_tiles(network, grid, read, more, lowest_score), 8.5, 1, 10)
    joining_again = in_background(partial(join, found, grid.size, threshold), "Joining tiles")
    joined, _ = yield from subtask(joining_again, 9.5, 0.5, 10)
    return joined


def largest_tile(network: Detector, grid: Grid) -> int:
    """Return the largest side of a tile, without its overlap, that time and memory allow."""
    at_once = min(network.pixels_at_once(), MOST_READ_PX * grid.share)
    return max(SMALLEST_TILE_PX, int(at_once**0.5) - network.overlap_px)


def tiles_over(size: Sequence[int], side: int, overlap: int, step: int) -> list[DetectionTile]:
    """Cover a grid of `size` with tiles that share `overlap` pixels with their neighbours.

    Tiles begin at multiples of `step`, where the network's pooling begins. They are as even as the step allows, and
    without their overlap no larger than `side`, rounded up.

    Examples
    --------
    >>> [(tile.left, tile.width) for tile in tiles_over((64, 400), side=128, overlap=64, step=64)]
    [(0, 192), (128, 192), (256, 144)]
    """
    rows, columns = (_cuts(length, side, overlap, step) for length in size)
    cut = itertools.product(rows, columns)
    return [DetectionTile(top, left, bottom - top, right - left) for (top, bottom), (left, right) in cut]


def _cuts(length: int, side: int, overlap: int, step: int) -> list[tuple[int, int]]:
    own = max(1, length - overlap)
    apart = ceil(own / ceil(own / side) / step) * step
    return [(start, min(length, start + apart + overlap)) for start in range(0, own, apart)]


def tiles_around(
    boxes: Sequence[Sequence[float]], like: DetectionTile, size: Sequence[int], step: int
) -> list[DetectionTile]:
    """Lay tiles over a grid of `size` with each of the boxes (x0, y0, x1, y1) in or near the middle of one.

    Examples
    --------
    >>> tiles_around([[190, 5, 210, 9], [195, 20, 230, 40]], DetectionTile(0, 0, 64, 128), (64, 400), step=64)
    [DetectionTile(top=0, left=128, height=64, width=128)]
    """
    tiles: list[DetectionTile] = []
    for x0, y0, x1, y1 in boxes:
        top, left = (
            min(max(0, round((low + high - side) / 2 / step) * step), max(0, length - side))
            for low, high, side, length in ((y0, y1, like.height, size[0]), (x0, x1, like.width, size[1]))
        )
        around = DetectionTile(top, left, min(like.height, size[0]), min(like.width, size[1]))
        if around not in tiles:
            tiles.append(around)
    return tiles


def _detect_tiles(
    network: Detector, grid: Grid, read: Read, tiles: Sequence[DetectionTile], lowest_score: float
) -> Job[list[tuple[DetectionTile, Detections]]]:
    """Detect in tile after tile in one thread, while another one reads what comes next."""
    found = []
    with reader_and_worker() as (reading, computing):
        coming = [reading.submit(_read_tile, read, grid, tiles[0])]
        for done, tile in enumerate(tiles):
            step = Progress(done, len(tiles), f"Tile {done + 1} of {len(tiles)} on {network.device.title}")
            image = yield from waited_for(coming.pop(), step)
            if done + 1 < len(tiles):
                coming.append(reading.submit(_read_tile, read, grid, tiles[done + 1]))
            detecting = computing.submit(network.detect, image, lowest_score)
            found.append((tile, (yield from waited_for(detecting, step))))
    return found


def _read_tile(read: Read, grid: Grid, tile: DetectionTile) -> np.ndarray:
    window = [(tile.top, tile.top + tile.height), (tile.left, tile.left + tile.width)]
    return read_window(read, grid, window)
