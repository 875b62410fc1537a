"""Detections of overlapping tiles joined into those of the whole image, without doubles and without halves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_tessera.nn.boxes import areas, shared_areas
from napari_tessera.nn.detections import Detections, Left
from napari_tessera.nn.suppression import suppress

EDGE_PX = 1.5
"""A box that ends so near to the edge of its tile is taken as cut off by it."""
DEEPER_PX = 8
"""A tile that has a box so much deeper inside than another one sees better what is there."""
COVERED = 0.5
"""Share of a cut box within a whole one from which both are taken as the same object."""


@dataclass(frozen=True)
class Tile:
    """Part of an image: its first row and column, and its rows and columns."""

    top: int
    left: int
    height: int
    width: int

    def depths(self, boxes: Tensor, shape: Sequence[int]) -> Tensor:
        """Say how far inside the tile each box (N, 4), in pixels of the image, lies: (N,) px.

        Edges of the tile that are edges of the image do not count; a box that reaches beyond an edge lies at less than
        nothing.
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


def join(found: Sequence[tuple[Tile, Detections]], shape: Sequence[int], threshold: float) -> Detections:
    """Join the detections of overlapping tiles; see `join_marked`."""
    return join_marked(found, shape, threshold)[0]


def join_marked(
    found: Sequence[tuple[Tile, Detections]], shape: Sequence[int], threshold: float
) -> tuple[Detections, Tensor]:
    """Join the detections of overlapping tiles, and say which objects no tile holds whole.

    Of what several tiles see, that counts which is seen deepest inside one: there, nothing is cut off, and all around
    is seen. Objects longer than the overlap of tiles may be whole in none of them, and come out in parts.

    Parameters
    ----------
    found : sequence of (Tile, Detections)
        At least one; boxes in pixels of the tile.
    shape : (Y, X)
        Of the image.
    threshold : float
        Overlap (IoU) from which the lower of two detections of a class is dropped.

    Returns
    -------
    Detections
        In pixels of the image, highest score first; what was left out is added up.
    boolean Tensor (N,)
        Which of them are cut off by the edge of a tile.
    """
    together = beside_each_other([each.moved(tile.top, tile.left) for tile, each in found])
    tiles, numbers = (
        [tile for tile, _ in found],
        [torch.full((len(each.boxes),), n) for n, (_, each) in enumerate(found)],
    )
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
    tiles: Sequence[Tile], numbers: Tensor, boxes: Tensor, shape: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Say how deep each box lies in the tile that it was found in, and in the tile that has it deepest."""
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
        sum((each.left for each in parts), start=Left()),
        torch.cat(contrast) if len(contrast) == len(parts) else None,
    )


def are_covered(cut: Detections, whole: Detections) -> Tensor:
    """Say which of the cut detections lie mostly within a whole one of their class."""
    shared = shared_areas(cut.boxes, whole.boxes) / areas(cut.boxes)[:, None]
    return ((shared > COVERED) & (cut.labels[:, None] == whole.labels)).any(dim=1)
