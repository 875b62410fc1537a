"""Read any window of an image on the network's grid: rescaled, and mirrored beyond the edge.

Where a pixel of the grid lies in the image does not depend on where the window begins, so that windows read apart fit
together as if they had been cut from one rescaled image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from napari_tessera.kernels.grid import Grid

Read = Callable[[tuple[slice, ...]], np.ndarray]
"""From a window of the image to its float32 channels (C, [Z,] Y, X)."""


def network_grid(shape: Sequence[int], factor: float | Sequence[float] = 1.0) -> Grid:
    """Lay a grid of `factor` network pixels per image pixel (one number, or one per axis) over an image.

    It has max(1, round(side·factor)) pixels along each axis.
    """
    factors = np.broadcast_to(factor, len(shape))
    return Grid.over(shape, [max(1, round(side * each)) for side, each in zip(shape, factors.tolist(), strict=True)])


def read_window(read: Read, grid: Grid, window: Sequence[tuple[int, int]]) -> np.ndarray:
    """Read a window of the grid.

    Parameters
    ----------
    read : callable
        Gives the channels of a window of the image; only what the window needs is asked for.
    grid : Grid
    window : sequence of (start, stop)
        Per axis, in pixels of the grid; what lies outside is mirrored at the middle of the edge pixels.

    Returns
    -------
    float32 array (C, [Z,] Y, X)
    """
    wanted = [mirrored(np.arange(*part), size) for part, size in zip(window, grid.size, strict=True)]
    inside = [(int(index.min()), int(index.max()) + 1) for index in wanted]
    weights = [
        resampling(grid.image_places(axis)[slice(*part)], grid.shape[axis], grid.scale[axis])
        for axis, part in enumerate(inside)
    ]
    image = read(tuple(slice(first, first + matrix.shape[1]) for matrix, first in weights))
    for axis, (matrix, _) in enumerate(weights, start=1):
        image = _along(image, matrix, axis)
    for axis, (index, (first, _)) in enumerate(zip(wanted, inside, strict=True), start=1):
        image = _taken(image, index - first, axis)
    return np.ascontiguousarray(image, dtype=np.float32)


def mirrored(index: np.ndarray, size: int) -> np.ndarray:
    """Bring indices from anywhere into 0…size − 1, as between two mirrors in the middle of the edge pixels.

    Examples
    --------
    >>> mirrored(np.arange(-2, 6), 3).tolist()
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = max(1, 2 * (size - 1))
    index = np.abs(index) % period
    return np.minimum(index, period - index) if size > 1 else np.zeros_like(index)


def resampling(centre: np.ndarray, side: int, scale: float) -> tuple[sparse.csr_array, int]:
    """Weights that give pixels of the grid from pixels of the image along one axis.

    Bilinear: a tent as wide as a pixel of the image or of the grid, whichever is larger (so that shrinking averages).

    Parameters
    ----------
    centre : (N,) array
        Where pixels of the grid lie, in pixels of the image.
    side : int
        Of the image.
    scale : float
        Width of a pixel of the grid, in pixels of the image.

    Returns
    -------
    csr_array (grid pixels, image pixels)
        Rows add up to 1.
    int
        First pixel of the image that is needed.
    """
    reach = max(scale, 1.0)
    taps = np.floor(centre - reach).astype(int)[:, None] + np.arange(int(2 * reach) + 3)
    weight = np.maximum(1 - np.abs(taps - centre[:, None]) / reach, 0)
    weight[(taps < 0) | (taps >= side)] = 0
    weight /= weight.sum(1, keepdims=True)
    rows, columns = np.nonzero(weight)
    pixels = taps[rows, columns]
    first, last = int(pixels.min()), int(pixels.max())
    entries = (weight[rows, columns].astype(np.float32), (rows, pixels - first))
    return sparse.csr_array(entries, shape=(len(centre), last - first + 1)), first


def _along(image: np.ndarray, matrix: sparse.csr_array, axis: int) -> np.ndarray:
    """Multiply along one axis; a matrix that changes nothing is left out."""
    if matrix.shape[0] == matrix.shape[1] == matrix.nnz:
        return image
    moved = np.ascontiguousarray(np.moveaxis(image, axis, 0), dtype=np.float32)
    product = matrix @ moved.reshape(len(moved), -1)
    return np.moveaxis(product.reshape(-1, *moved.shape[1:]), 0, axis)


def _taken(image: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """Take pixels along one axis; the whole axis in order is left as it is."""
    return image if np.array_equal(index, np.arange(image.shape[axis])) else image.take(index, axis)
