"""Merge the basins of a flood whose peaks hardly rise above the pass between them (h-maxima, after the flood).

Flooding from every peak and then merging over the highest passes gives the same objects as flooding from the h-maxima
alone, and needs no morphological reconstruction, by far the slowest step where it is done first.
"""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import bands, in_threads
from napari_tessera.jobs import Job
from napari_tessera.kernels.jit import njit


def merged_basins(
    labels: np.ndarray, levels: np.ndarray, peak_levels: np.ndarray, steps: np.ndarray, depths: np.ndarray
) -> Job[np.ndarray]:
    """Say which basins belong together.

    Parameters
    ----------
    labels : array of int, framed
        The flooded basins, 1…N; 0 and below is no basin.
    levels : array of uint16, framed
        Level of each pixel; 0 is the highest.
    peak_levels : (N + 1,) array
        Level of each basin's peak; the entry 0 is not used.
    steps : array of int64
        Steps to the neighbours in the flat array.
    depths : (N + 1,) array of float64
        A peak stays one of its own if the pass to any higher peak lies lower than it by more than this many levels.

    Returns
    -------
    (N + 1,) array
        New number of each basin: that of the highest peak it was merged with.

    References
    ----------
    Grimaud M. (1992), A new measure of contrast: the dynamics, doi:10.1117/12.60650.
    """
    flat_labels, flat_levels = labels.reshape(-1), levels.reshape(-1)
    ahead = steps[steps > 0]

    def passes_in(band: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Ahead of the last pixels there is only the frame, which is no basin.
        return _passes(flat_labels, flat_levels, ahead, band.start, min(band.stop, len(flat_labels) - int(ahead.max())))

    found = yield from in_threads(passes_in, bands(len(flat_labels), 1), "Merging basins")
    low, high, level = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(level, kind="stable")
    return _merge(low[order], high[order], level[order], peak_levels, depths)


@njit
def _passes(labels, levels, ahead, start, stop):
    """List pairs of neighbouring basins and the level at which they meet, once for every pair of pixels."""
    count = 0
    for pixel in range(start, stop):
        if labels[pixel] > 0:
            for step in ahead:
                count += labels[pixel + step] > 0 and labels[pixel + step] != labels[pixel]
    low, high = np.empty(count, labels.dtype), np.empty(count, labels.dtype)
    level = np.empty(count, levels.dtype)
    count = 0
    for pixel in range(start, stop):
        if labels[pixel] > 0:
            for step in ahead:
                here, there = labels[pixel], labels[pixel + step]
                if there > 0 and there != here:
                    low[count], high[count] = min(here, there), max(here, there)
                    level[count] = max(levels[pixel], levels[pixel + step])
                    count += 1
    return low, high, level


@njit
def _merge(low, high, level, peak_levels, depths):
    """Merge over the highest passes first; `parent` leads to the basin with the highest peak."""
    parent = np.arange(len(peak_levels))
    for index in range(len(level)):
        first, second = _root(parent, low[index]), _root(parent, high[index])
        if first == second:
            continue
        if peak_levels[second] < peak_levels[first]:
            first, second = second, first
        if level[index] - peak_levels[second] <= depths[second]:
            parent[second] = first
    for basin in range(len(parent)):
        parent[basin] = _root(parent, basin)
    return parent


@njit
def _root(parent, basin):
    while parent[basin] != basin:
        parent[basin] = parent[parent[basin]]
        basin = parent[basin]
    return basin
