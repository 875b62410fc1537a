"""Drop small objects that no pixel is sure of."""

from __future__ import annotations

import numba
import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, Progress, part_of


def without_unsure(labels: np.ndarray, said: np.ndarray, small_px: float, level: float) -> Job[np.ndarray]:
    """Drop objects of fewer than `small_px` pixels in which `said` nowhere reaches `level`.

    Parameters
    ----------
    labels : array of int ([Z,] Y, X)
        0 background, 1…N; changed in place.
    said : float32 array of the same shape
        How sure each pixel is.
    small_px : float
        0 keeps everything.
    level : float

    Returns
    -------
    array of int
        `labels`, numbered 1…M in the order they had.
    """
    rows, values = labels.reshape(-1, labels.shape[-1]), said.reshape(-1, labels.shape[-1])
    pixels = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    highest = np.full(len(pixels), -np.inf, np.float32)
    cut = bands(len(rows), rows.shape[-1])
    for done, band in enumerate(cut):
        yield Progress(done, 2 * len(cut), "Dropping what is unsure")
        _count_and_compare(rows[band], values[band], pixels, highest)
    is_kept = (pixels >= small_px) | (highest >= level)
    is_kept[0] = False
    if is_kept[1:].all():
        return labels
    numbers = np.where(is_kept, np.cumsum(is_kept), 0).astype(labels.dtype)

    def write(band: slice) -> None:
        rows[band] = numbers[rows[band]]

    yield from part_of(in_threads(write, cut, "Dropping what is unsure"), 1, 1, 2)
    return labels


@numba.njit(nogil=True, cache=True)
def _count_and_compare(rows: np.ndarray, values: np.ndarray, pixels: np.ndarray, highest: np.ndarray) -> None:
    """Add the pixels of each object, and raise its highest value to what is found."""
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            label = rows[row, column]
            pixels[label] += 1
            if values[row, column] > highest[label]:
                highest[label] = values[row, column]
