"""Median over a box that slides along the rows, with a histogram of what is in it (Huang et al. 1979).

SciPy sorts every window anew, which takes minutes for wide windows on large images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_tessera.bands import Piece
from napari_tessera.kernels.jit import njit


def sliding_median(values: np.ndarray, radii: Sequence[int], core: Piece) -> np.ndarray:
    """Return the median over a box around each pixel of `core`; the image is continued by its mirror image.

    Parameters
    ----------
    values : (Y, X) or (Z, Y, X) uint16 array
    radii : sequence of int
        Half the box's side along each axis, in pixels; the side is 2 · radius + 1.
    core : tuple of slice
        The part to find medians for.

    Returns
    -------
    uint16 array with the shape of `values[core]`

    Examples
    --------
    >>> sliding_median(np.array([[1, 9, 2]], np.uint16), (0, 1), (slice(0, 1), slice(0, 3)))
    array([[1, 2, 2]], dtype=uint16)
    """
    padded = np.pad(values, [(radius, radius) for radius in radii], mode="symmetric")
    padded = padded[tuple(slice(part.start, part.stop + 2 * radius) for part, radius in zip(core, radii, strict=True))]
    if values.ndim == 2:
        padded, radii = padded[np.newaxis], (0, *radii)
    medians = np.empty([side - 2 * radius for side, radius in zip(padded.shape, radii, strict=True)], np.uint16)
    by_column = np.ascontiguousarray(padded.swapaxes(1, 2))  # (Z, X, Y): what enters and leaves lies in one piece
    _slide(by_column, medians, *radii)
    return medians.reshape(medians.shape[-values.ndim :])


@njit
def _slide(by_column: np.ndarray, medians: np.ndarray, radius_z: int, radius_y: int, radius_x: int) -> None:
    width_z, width_y, width_x = 2 * radius_z + 1, 2 * radius_y + 1, 2 * radius_x + 1
    half = width_z * width_y * width_x // 2
    counts = np.zeros(np.int64(by_column.max()) + 1, np.int32)
    for z in range(medians.shape[0]):
        for y in range(medians.shape[1]):
            window = by_column[z : z + width_z, :, y : y + width_y]
            counts[:] = 0
            median, below = 0, 0  # `below` values of the window are less than `median`
            for x in range(width_x - 1):
                below += _count_column(window, x, 1, counts, median)
            for x in range(medians.shape[2]):
                below += _count_column(window, x + width_x - 1, 1, counts, median)
                while below > half:
                    median -= 1
                    below -= counts[median]
                while below + counts[median] <= half:
                    below += counts[median]
                    median += 1
                medians[z, y, x] = median
                below += _count_column(window, x, -1, counts, median)


@njit
def _count_column(window: np.ndarray, x: int, change: int, counts: np.ndarray, median: int) -> int:
    """Add a column to the counts or take it away; return by how much the count below the median changes."""
    below = 0
    for z in range(window.shape[0]):
        for y in range(window.shape[2]):
            value = np.int64(window[z, x, y])
            counts[value] += change
            below += 1 if value < median else 0
    return below * change
