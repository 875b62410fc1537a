"""Split each object at its waists, by a watershed from the points farthest from its outline."""

from __future__ import annotations

import numpy as np

from napari_tessera.algorithms.distance_transform import distance_to_background
from napari_tessera.algorithms.flooding import steps_to_neighbours
from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.label_morphology import neighbour_slices
from napari_tessera.algorithms.watershed import Elevation, FloodInput, find_peaks, merged_peaks, quantize
from napari_tessera.core.jobs import Job, Piece, Progress, in_threads, pieces, subtask
from napari_tessera.core.labels import label_dtype

FACES = 1
"""Parts are connected across the faces of pixels."""


def split_touching(
    labels: np.ndarray, min_distance: float, prominence: float, spacing: tuple[float, ...] | None
) -> Job[np.ndarray]:
    """Flood each object from the points farthest from its outline; parameters as in `refine`.

    The first part of each object keeps its number, others get numbers from N + 1 on.
    """
    core = yield from subtask(_without_rims(labels), 0, 1, 10)
    height = yield from subtask(distance_to_background(core, spacing), 1, 2, 10)
    peaks = yield from subtask(find_peaks(height, labels, min_distance, spacing), 3, 1, 10)
    peaks = _of_several(peaks, labels, height)
    if not len(peaks):
        return labels
    objects = labels[tuple(peaks.T)]
    ground = yield from subtask(quantize(Elevation(height, is_distance=True), core, FACES), 4, 1, 10)
    del height
    rims = yield from subtask(_mark_objects(labels, core, objects, ground.inner), 5, 1, 10)
    owners = yield from subtask(merged_peaks(ground, ground.flat_positions(peaks), FACES, prominence), 6, 2, 10)
    yield from subtask(_spread_into_rims(ground, rims, labels, np.append(0, objects)), 8, 1, 10)
    numbers = _number_parts(owners, objects, int(labels.max()))
    return (yield from subtask(_write_parts(labels, ground.inner, numbers), 9, 1, 10))


def _without_rims(labels: np.ndarray) -> Job[np.ndarray]:
    """Mask the objects without the pixels next to another object, so that each has a separate outline."""
    core = labels > 0
    for lower, upper in neighbour_slices(labels.shape):
        yield Progress(0, 1, "Splitting")
        here, there = labels[lower], labels[upper]
        touches = (here != there) & (here > 0) & (there > 0)
        core[lower] &= ~touches
        core[upper] &= ~touches
    return core


def _of_several(peaks: np.ndarray, labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Keep the peaks of objects with two or more."""
    peaks = peaks[height[tuple(peaks.T)] > 0]
    owners = labels[tuple(peaks.T)]
    return peaks[np.bincount(owners)[owners] >= 2]


def _mark_objects(labels: np.ndarray, core: np.ndarray, objects: np.ndarray, regions: np.ndarray) -> Job[np.ndarray]:
    """Write minus the number of each of `objects` into `regions`, on its core; return the positions of their rims.

    Floods must not meet, so the rims are excluded at first.
    """
    negative = np.zeros(int(labels.max()) + 1, regions.dtype)
    negative[objects] = -objects

    def mark(piece: Piece) -> np.ndarray:
        here = negative[labels[piece]]
        regions[piece] = np.where(core[piece], here, 0)
        rims = np.argwhere((here != 0) & ~core[piece])
        return rims + [part.start for part in piece]

    return np.concatenate((yield from in_threads(mark, pieces(labels.shape), "Splitting")))


def _spread_into_rims(ground: FloodInput, rims: np.ndarray, labels: np.ndarray, objects: np.ndarray) -> Job[None]:
    """Assign rim pixels to the adjacent part of their object, layer by layer; unreached pixels stay negative.

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
    """Return the number of each basin: the first part of an object keeps its number, others get new ones."""
    roots, part_of_basin = np.unique(owners[1:], return_inverse=True)
    objects_of_parts = objects[roots - 1]
    _, firsts = np.unique(objects_of_parts, return_index=True)
    is_new = np.ones(len(roots), bool)
    is_new[firsts] = False
    numbers = np.where(is_new, largest + np.cumsum(is_new), objects_of_parts)
    return np.append(0, numbers[part_of_basin])


def _write_parts(labels: np.ndarray, basins: np.ndarray, numbers: np.ndarray) -> Job[np.ndarray]:
    """Write the number of their part into flooded pixels; others keep their number."""
    result = labels.astype(label_dtype(int(numbers.max())))

    def write(piece: Piece) -> None:
        result[piece] = np.where(basins[piece] > 0, numbers[np.maximum(basins[piece], 0)], result[piece])

    yield from in_threads(write, pieces(labels.shape), "Splitting")
    return result
