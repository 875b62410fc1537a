"""Split objects at their necks."""

from __future__ import annotations

import numpy as np

from napari_tessera.bands import Piece, in_threads, pieces
from napari_tessera.jobs import Job, Progress, part_of
from napari_tessera.kernels.basins import merged_basins
from napari_tessera.kernels.flooding import flood, seeds_from, steps_to_neighbours
from napari_tessera.kernels.jit import njit
from napari_tessera.kernels.landscape import Ground, Hills, ground_of
from napari_tessera.kernels.markers import find_peaks
from napari_tessera.labels import label_dtype
from napari_tessera.methods.distance import distance_to_background
from napari_tessera.methods.fragments import neighbour_slices

FACES = 1
"""Parts hang together across the faces of pixels."""


def split_touching(
    labels: np.ndarray, min_distance: float, prominence: float, spacing: tuple[float, ...] | None
) -> Job[np.ndarray]:
    """Flood each object from the places that are furthest from its outline; parameters as in `refine`.

    Returns
    -------
    array
        The first part of each object keeps its number, others get numbers from N + 1 on.
    """
    core = yield from part_of(_without_rims(labels), 0, 1, 10)
    height = yield from part_of(distance_to_background(core, spacing), 1, 2, 10)
    peaks = yield from part_of(find_peaks(height, labels, min_distance, spacing), 3, 1, 10)
    peaks = _of_several(peaks, labels, height)
    if not len(peaks):
        return labels
    objects = labels[tuple(peaks.T)]
    ground = yield from part_of(ground_of(Hills(height, is_distance=True), core, FACES), 4, 1, 10)
    del height
    rims = yield from part_of(_mark_objects(labels, core, objects, ground.inner), 5, 1, 10)
    owners = yield from part_of(_flood(ground, ground.flat_positions(peaks), prominence), 6, 2, 10)
    yield from part_of(_spread_into_rims(ground, rims, labels, np.append(0, objects)), 8, 1, 10)
    numbers = _number_parts(owners, objects, int(labels.max()))
    return (yield from part_of(_write_parts(labels, ground.inner, numbers), 9, 1, 10))


def _flood(ground: Ground, pixels: np.ndarray, prominence: float) -> Job[np.ndarray]:
    """Flood from every peak and merge what hardly parts; return the basin that each basin belongs to."""
    basins = np.arange(1, len(pixels) + 1, dtype=ground.labels.dtype)
    seeds = seeds_from(ground.labels, pixels, basins)
    yield from part_of(flood(ground.labels, ground.levels, seeds, FACES), 0, 2, 3)
    if prominence == 0:
        return np.arange(len(pixels) + 1)
    peak_levels = np.append(0, ground.levels.reshape(-1)[pixels]).astype(np.int64)
    steps = steps_to_neighbours(ground.levels.shape, FACES)
    depths = prominence * (ground.floor - peak_levels)
    merging = merged_basins(ground.labels, ground.levels, peak_levels, steps, depths)
    return (yield from part_of(merging, 2, 1, 3))


def _without_rims(labels: np.ndarray) -> Job[np.ndarray]:
    """Mask the objects without the pixels next to another object, so that each has an outline of its own."""
    core = labels > 0
    for lower, upper in neighbour_slices(labels.shape):
        yield Progress(0, 1, "Splitting")
        here, there = labels[lower], labels[upper]
        touches = (here != there) & (here > 0) & (there > 0)
        core[lower] &= ~touches
        core[upper] &= ~touches
    return core


def _of_several(peaks: np.ndarray, labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Keep the peaks of objects that have two or more."""
    peaks = peaks[height[tuple(peaks.T)] > 0]
    owners = labels[tuple(peaks.T)]
    return peaks[np.bincount(owners)[owners] >= 2]


def _mark_objects(labels: np.ndarray, core: np.ndarray, objects: np.ndarray, regions: np.ndarray) -> Job[np.ndarray]:
    """Write minus the number of each of `objects` into `regions`, on its core; return the positions of their rims.

    Floods must not meet, so the rims are out of bounds at first.
    """
    negative = np.zeros(int(labels.max()) + 1, regions.dtype)
    negative[objects] = -objects

    def mark(piece: Piece) -> np.ndarray:
        here = negative[labels[piece]]
        regions[piece] = np.where(core[piece], here, 0)
        rims = np.argwhere((here != 0) & ~core[piece])
        return rims + [part.start for part in piece]

    return np.concatenate((yield from in_threads(mark, pieces(labels.shape), "Splitting")))


def _spread_into_rims(ground: Ground, rims: np.ndarray, labels: np.ndarray, objects: np.ndarray) -> Job[None]:
    """Give rim pixels to the parts of their object next to them, layer by layer; what no part reaches stays negative.

    `objects` has the object of each basin.
    """
    flat = ground.labels.reshape(-1)
    waiting = ground.flat_positions(rims)
    flat[waiting] = -labels[tuple(rims.T)]
    steps = steps_to_neighbours(ground.labels.shape, ground.labels.ndim)
    while len(waiting):
        yield Progress(0, 1, "Splitting")
        parts = _find_parts(flat, objects, steps, waiting)
        is_reached = parts > 0
        if not is_reached.any():
            return
        flat[waiting[is_reached]] = parts[is_reached]
        waiting = waiting[~is_reached]


@njit
def _find_parts(flat, objects, steps, waiting):
    """Return for each waiting pixel the first part of its own object among its neighbours, or 0."""
    parts = np.zeros(len(waiting), flat.dtype)
    for index in range(len(waiting)):
        pixel = waiting[index]
        for step in steps:
            basin = flat[pixel + step]
            if basin > 0 and objects[basin] == -flat[pixel]:
                parts[index] = basin
                break
    return parts


def _number_parts(owners: np.ndarray, objects: np.ndarray, largest: int) -> np.ndarray:
    """Return the number of each basin: the first part of an object keeps its number, the others get new ones."""
    roots, part_of_basin = np.unique(owners[1:], return_inverse=True)
    objects_of_parts = objects[roots - 1]
    _, firsts = np.unique(objects_of_parts, return_index=True)
    is_new = np.ones(len(roots), bool)
    is_new[firsts] = False
    numbers = np.where(is_new, largest + np.cumsum(is_new), objects_of_parts)
    return np.append(0, numbers[part_of_basin])


def _write_parts(labels: np.ndarray, basins: np.ndarray, numbers: np.ndarray) -> Job[np.ndarray]:
    """Give flooded pixels the number of their part; others keep the number they have."""
    result = labels.astype(label_dtype(int(numbers.max())))

    def write(piece: Piece) -> None:
        result[piece] = np.where(basins[piece] > 0, numbers[np.maximum(basins[piece], 0)], result[piece])

    yield from in_threads(write, pieces(labels.shape), "Splitting")
    return result
