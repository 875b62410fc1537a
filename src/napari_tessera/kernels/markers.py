"""Find one marker per object: peaks of a landscape, and which of them are no peaks of their own."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job
from napari_tessera.kernels.jit import njit


def offsets_within(radius: float, ndim: int, spacing: tuple[float, ...] | None) -> np.ndarray:
    """Return the (K, 3) z, y, x offsets within `radius` px of a pixel and all its direct neighbours, nearest first."""
    steps = np.ones(ndim) if spacing is None else np.array(spacing) / spacing[-1]
    reach = np.maximum(1, radius // steps).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, ndim)
    distance = np.sqrt(((grid * steps) ** 2).sum(1))
    near = (distance <= radius) | (np.abs(grid).max(1) <= 1)
    order = np.argsort(distance[near], kind="stable")[1:]  # the first is the pixel itself
    return np.pad(grid[near][order], ((0, 0), (3 - ndim, 0)))


def find_peaks(
    height: np.ndarray, regions: np.ndarray, min_distance: float, spacing: tuple[float, ...] | None = None
) -> Job[np.ndarray]:
    """Find the pixels that no other pixel of their region within `min_distance` exceeds.

    Parameters
    ----------
    height : array of float32
        (Y, X) or (Z, Y, X).
    regions : array of int
        Connected regions; 0 is background, where there are no peaks. Regions do not compete with each other.
    min_distance : float
        In pixels along X; below 1, a peak's direct neighbours still count.
    spacing : tuple of float, optional

    Returns
    -------
    (N, ndim) array of int64
        Positions in raster order. Of equal neighbours the first in raster order is the peak.
    """
    offsets = offsets_within(min_distance, height.ndim, spacing)
    shape = (1,) * (3 - height.ndim) + height.shape
    height, regions, ndim = height.reshape(shape), regions.reshape(shape), height.ndim

    def peaks_in(rows: slice) -> np.ndarray:
        return _peaks(height, regions, offsets, rows.start, rows.stop)

    found = yield from in_threads(peaks_in, bands(shape[0] * shape[1], shape[2]), "Finding markers")
    return np.concatenate(found)[:, 3 - ndim :]


@njit
def _peaks(height, regions, offsets, start, stop):
    """Find peaks in the rows from `start` to `stop`, counted through all planes."""
    rows, columns = height.shape[1:]
    found = [(0, 0, 0) for _ in range(0)]
    for row in range(start, stop):
        z, y = row // rows, row % rows
        for x in range(columns):
            if regions[z, y, x] != 0 and _is_peak(height, regions, offsets, z, y, x):
                found.append((z, y, x))
    positions = np.empty((len(found), 3), np.int64)
    for index, position in enumerate(found):
        positions[index, 0], positions[index, 1], positions[index, 2] = position
    return positions


@njit
def _is_peak(height, regions, offsets, z, y, x):
    depth, rows, columns = height.shape
    here = height[z, y, x]
    for index in range(len(offsets)):
        dz, dy, dx = offsets[index]
        oz, oy, ox = z + dz, y + dy, x + dx
        if not (0 <= oz < depth and 0 <= oy < rows and 0 <= ox < columns):
            continue
        other = height[oz, oy, ox]
        is_earlier = dz < 0 or (dz == 0 and (dy < 0 or (dy == 0 and dx < 0)))
        if (other > here or (other == here and is_earlier)) and regions[oz, oy, ox] == regions[z, y, x]:
            return False
    return True
