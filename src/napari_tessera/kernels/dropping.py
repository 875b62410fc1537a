"""Drop objects: some, or small ones that no pixel is sure of."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.jit import njit


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
    return (yield from part_of(only(labels, (pixels >= small_px) | (highest >= level)), 1, 1, 2))


def only(labels: np.ndarray, is_kept: np.ndarray) -> Job[np.ndarray]:
    """Keep some objects.

    Parameters
    ----------
    labels : array of int ([Z,] Y, X)
        0 background, 1…N; changed in place.
    is_kept : bool array (N + 1,)
        By label number; what it says of 0 does not matter.

    Returns
    -------
    array of int
        `labels`, numbered 1…M in the order they had.
    """
    if is_kept[1:].all():
        return labels
    numbers = np.append(0, np.where(is_kept[1:], np.cumsum(is_kept[1:]), 0)).astype(labels.dtype)
    rows = labels.reshape(-1, labels.shape[-1])

    def write(band: slice) -> None:
        rows[band] = numbers[rows[band]]

    yield from in_threads(write, bands(len(rows), rows.shape[-1]), "Dropping what is unsure")
    return labels


@njit
def _count_and_compare(rows: np.ndarray, values: np.ndarray, pixels: np.ndarray, highest: np.ndarray) -> None:
    """Add the pixels of each object, and raise its highest value to what is found."""
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            label = rows[row, column]
            pixels[label] += 1
            if values[row, column] > highest[label]:
                highest[label] = values[row, column]
