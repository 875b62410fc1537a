"""Fill the holes of objects."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import Piece, in_threads, pieces
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.labels import connected_components
from napari_tessera.methods.fragments import neighbour_slices
from napari_tessera.methods.selection import count_pixels


def fill_label_holes(labels: np.ndarray, largest: int) -> Job[None]:
    """Give, in place, every hole of at most `largest` pixels to the one object that encloses it.

    A hole is background that hangs together across faces and touches neither the image's edge nor a second object.
    """
    yield Progress(0, 4, "Filling holes")
    holes = connected_components(labels == 0)
    pixels = yield from part_of(count_pixels(holes, "Filling holes"), 1, 1, 4)
    lowest, highest = yield from part_of(_find_owners(labels, holes, len(pixels)), 2, 1, 4)
    is_filled = (lowest == highest) & (pixels <= largest)
    for axis in range(labels.ndim):
        is_filled[np.unique(np.take(holes, (0, -1), axis))] = False
    owners = np.where(is_filled, lowest, 0).astype(labels.dtype)
    owners[0] = 0

    def fill(piece: Piece) -> None:
        labels[piece] += owners[holes[piece]]  # labels are 0 in holes, and there is no owner elsewhere

    yield from part_of(in_threads(fill, pieces(labels.shape), "Filling holes"), 3, 1, 4)


def _find_owners(labels: np.ndarray, holes: np.ndarray, count: int) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Return the lowest and the highest number among the objects around each hole."""
    lowest, highest = np.full(count, np.iinfo(labels.dtype).max), np.zeros(count, labels.dtype)
    for lower, upper in neighbour_slices(labels.shape):
        yield Progress(0, 1, "Filling holes")
        for here, there in ((lower, upper), (upper, lower)):
            is_rim = (holes[here] > 0) & (labels[there] > 0)
            hole, owner = holes[here][is_rim], labels[there][is_rim]
            np.minimum.at(lowest, hole, owner)
            np.maximum.at(highest, hole, owner)
    return lowest, highest
