"""Choose which objects of a label image to keep.

Here and in the other steps of `refine`, objects are numbered 1…N without gaps or nearly so, so that arrays with one
entry per object are small.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import Piece, in_threads, pieces
from napari_tessera.jobs import Job


def count_pixels(labels: np.ndarray, text: str = "Measuring objects") -> Job[np.ndarray]:
    """Return the number of pixels of each label from 0 to the largest."""
    largest = int(labels.max(initial=0))

    def count(piece: Piece) -> np.ndarray:
        return np.bincount(labels[piece].reshape(-1), minlength=largest + 1)

    counts = np.zeros(largest + 1, np.int64)
    for found in (yield from in_threads(count, pieces(labels.shape), text)):
        counts += found
    return counts


def map_numbers(labels: np.ndarray, numbers: np.ndarray, result: np.ndarray, text: str = "Numbering") -> Job[None]:
    """Write `numbers[label]` for every pixel into `result`, which may be `labels` itself."""

    def write(piece: Piece) -> None:
        result[piece] = numbers[labels[piece]]

    yield from in_threads(write, pieces(labels.shape), text)


def clear_border(labels: np.ndarray) -> Job[None]:
    """Drop, in place, objects that touch the image's edge; an axis of one pixel has no edge."""
    numbers = np.arange(int(labels.max(initial=0)) + 1, dtype=labels.dtype)
    for axis in range(labels.ndim):
        if labels.shape[axis] > 1:
            numbers[np.unique(np.take(labels, (0, -1), axis))] = 0
    yield from map_numbers(labels, numbers, labels, "Clearing the border")


def keep_sizes(labels: np.ndarray, smallest: int, largest: int, count: int) -> Job[None]:
    """Drop, in place, objects outside the size limits, and all but the `count` largest of the others; 0 is no limit."""
    pixels = yield from count_pixels(labels)
    keeps = pixels >= max(smallest, 1)
    if largest:
        keeps &= pixels <= largest
    keeps[0] = False
    if count:
        # Objects come in raster order, and a stable sort leaves equals in it.
        by_size = np.argsort(np.where(keeps, -pixels, 1), kind="stable")
        keeps[by_size[count:]] = False
    numbers = np.where(keeps, np.arange(len(keeps)), 0).astype(labels.dtype)
    yield from map_numbers(labels, numbers, labels, "Choosing objects")
