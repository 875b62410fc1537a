"""The lower envelope of parabolas, by which exact Euclidean distances are found along one axis after the other."""

from __future__ import annotations

import numpy as np

from napari_tessera.kernels.jit import njit

FAR = np.float32(1e18)
"""Squared distance of a pixel that has seen no other yet; its sums stay finite in float32."""


@njit
def lower_envelope(column: np.ndarray, length: int, step: np.float32, vertices: np.ndarray, bounds: np.ndarray) -> None:
    """Find which pixels' parabolas form the lower envelope, and from where on each of them is the lowest.

    Parameters
    ----------
    column : (length or more,) array of float32
        Squared distances so far: the height at which each pixel's parabola stands.
    length : int
    step : float32
        Distance from one pixel to the next.
    vertices, bounds : arrays
        What is found: pixel `vertices[n]` is the lowest from `bounds[n]` to `bounds[n + 1]`.

    References
    ----------
    Felzenszwalb P. F., Huttenlocher D. P. (2012), Distance transforms of sampled functions,
    doi:10.4086/toc.2012.v008a019.
    """
    square = step * step
    top = 0
    vertices[0] = 0
    bounds[0] = -np.inf
    for row in range(1, length):
        while True:
            other = vertices[top]
            rise = (column[row] - column[other]) / square
            crossing = np.float32((rise / (row - other) + row + other) / 2)
            if top == 0 or crossing > bounds[top]:
                break
            top -= 1
        if crossing <= bounds[top]:
            vertices[top] = row
        else:
            top += 1
            vertices[top] = row
            bounds[top] = crossing
    bounds[top + 1] = np.inf
