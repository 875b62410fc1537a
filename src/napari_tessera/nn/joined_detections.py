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
COVERED = 0.5
"""Share of a cut box within a whole one from which both are taken as the same object."""


@dataclass(frozen=True)
class Tile:
    """Part of an image: its first row and column, and its rows and columns."""

    top: int
    left: int
    height: int
    width: int

    def cuts(self, boxes: Tensor, shape: Sequence[int]) -> Tensor:
        """Say which boxes (N, 4), in pixels of the image, an edge of the tile cuts off that is no edge of the image."""
        bottom, right = self.top + self.height, self.left + self.width
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        above, before = (self.top > 0) & (y0 < self.top + EDGE_PX), (self.left > 0) & (x0 < self.left + EDGE_PX)
        below, behind = (bottom < shape[0]) & (y1 > bottom - EDGE_PX), (right < shape[1]) & (x1 > right - EDGE_PX)
        return above | before | below | behind


def join(found: Sequence[tuple[Tile, Detections]], shape: Sequence[int], threshold: float) -> Detections:
    """Join the detections of overlapping tiles.

    An object that is whole in one tile and cut off in another is taken from the first. Objects longer than the overlap
    of tiles are whole in none and may come out in parts: let tiles overlap by the largest object.

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
    """
    moved = [each.moved(tile.top, tile.left) for tile, each in found]
    is_cut = torch.cat([tile.cuts(each.boxes, shape) for (tile, _), each in zip(found, moved, strict=True)])
    together = beside_each_other(moved)
    is_first = torch.where(is_cut, 0, 1)  # scores are at most 1, so every whole object comes before those cut off
    kept = suppress(together.boxes, together.scores + 2 * is_first, threshold, together.labels)
    whole, cut = kept[~is_cut[kept]], kept[is_cut[kept]]
    kept = torch.cat([whole, cut[~are_covered(together.chosen(cut), together.chosen(whole))]])
    return together.chosen(kept[together.scores[kept].argsort(descending=True, stable=True)])


def beside_each_other(parts: Sequence[Detections]) -> Detections:
    """Return all objects of all parts, which are in pixels of the same image."""
    return Detections(
        torch.cat([each.boxes for each in parts]),
        torch.cat([each.labels for each in parts]),
        torch.cat([each.scores for each in parts]),
        torch.cat([each.masks for each in parts]),
        sum((each.left for each in parts), start=Left()),
    )


def are_covered(cut: Detections, whole: Detections) -> Tensor:
    """Say which of the cut detections lie mostly within a whole one of their class."""
    shared = shared_areas(cut.boxes, whole.boxes) / areas(cut.boxes)[:, None]
    return ((shared > COVERED) & (cut.labels[:, None] == whole.labels)).any(dim=1)
