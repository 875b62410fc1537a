"""Read any window of an image on the network's grid: rescaled, and mirrored beyond the edge.

Pixel i of the grid lies at image coordinate (i + 0.5)·(side/size) − 0.5 along each axis, wherever the window begins, so
that windows read apart fit together as if they had been cut from one rescaled image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from scipy import sparse

Read = Callable[[tuple[slice, ...]], np.ndarray]
"""From a window of the image to its float32 channels (C, [Z,] Y, X)."""


@dataclass(frozen=True)
class Grid:
    """The network's grid over an image.

    Attributes
    ----------
    shape : tuple of int
        Of the image, without channels.
    size : tuple of int
        Of the grid: pixels of the network along each axis.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def share(self) -> float:
        """Pixels of the grid for each pixel of the image."""
        return prod(self.size) / prod(self.shape)


def network_grid(shape: Sequence[int], factor: float | Sequence[float]) -> Grid:
    """Lay a grid of `factor` network pixels per image pixel (one number, or one per axis) over an image."""
    factors = np.broadcast_to(factor, len(shape))
    size = (max(1, round(side * each)) for side, each in zip(shape, factors.tolist(), strict=True))
    return Grid(tuple(shape), tuple(size))


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
    weights = [resampling(*each) for each in zip(inside, grid.shape, grid.size, strict=True)]
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


def resampling(part: tuple[int, int], side: int, size: int) -> tuple[sparse.csr_array, int]:
    """Weights that give pixels `part` of the grid from pixels of the image along one axis.

    Bilinear: a tent as wide as a pixel of the image or of the grid, whichever is larger (so that shrinking averages).

    Returns
    -------
    csr_array (grid pixels, image pixels)
        Rows add up to 1.
    int
        First pixel of the image that is needed.
    """
    scale = side / size
    reach = max(scale, 1.0)
    centre = (np.arange(*part) + 0.5) * scale - 0.5
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
