"""Resample the network's output to the image's grid: interpolated scores, labels with smooth outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from napari_tessera.algorithms.elevation import offsets_within
from napari_tessera.algorithms.jit import njit
from napari_tessera.core.jobs import Job
from napari_tessera.core.parallel import bands, in_threads
from napari_tessera.inference.pixel_grid import Grid

SEARCH_PX = 2.0
"""How far on the network's grid a pixel looks for the object it belongs to."""


class InterpolationWeights(NamedTuple):
    """Where the n pixels along one axis of the image lie on the network's grid."""

    low: np.ndarray  # int64 (n,), the pixels on both sides,
    high: np.ndarray
    share: np.ndarray  # float32 (n,), and how much the higher one counts, 0…1


def interpolation_weights(exact: np.ndarray, given: int) -> InterpolationWeights:
    """Place pixels along an axis of `given` pixels; those beyond its ends are brought there."""
    exact = np.clip(exact, 0, given - 1)
    low = exact.astype(np.int64)
    return InterpolationWeights(low, np.minimum(low + 1, given - 1), (exact - low).astype(np.float32))


def on_image(scores: np.ndarray, grid: Grid) -> Job[np.ndarray]:
    """Interpolate float32 scores from a network's grid, (Y, X) or (Z, Y, X), linearly to the image's pixels."""
    if grid.is_image:
        return scores
    return (yield from interpolated(scores, [grid.own_places(axis) for axis in range(scores.ndim)]))


def interpolated(scores: np.ndarray, at: Sequence[np.ndarray]) -> Job[np.ndarray]:
    """Interpolate float32 scores, (Y, X) or (Z, Y, X), linearly at places along each axis, in pixels of the scores."""
    volume, shape = _as_volume(scores), tuple(map(len, at))
    along_z, along_y, along_x = _axes(at, scores.shape)
    result = np.empty(_shape_3d(shape), np.float32)

    def interpolate(rows: slice) -> None:
        _interpolate_rows(volume, along_z, along_y, along_x, result, rows.start, rows.stop)

    yield from in_threads(interpolate, bands(result.shape[0] * result.shape[1], result.shape[2]), "Interpolating")
    return result.reshape(shape)


def outlined(labels: np.ndarray, scores: np.ndarray, level: float, grid: Grid) -> Job[np.ndarray]:
    """Bring labels to the image's pixels, with the outline where the interpolated score crosses `level`.

    A pixel of a score above `level` gets the nearest label within `SEARCH_PX`, the others get 0. `labels` and float32
    `scores` are (Y, X) or (Z, Y, X) on the network's grid.
    """
    if grid.is_image:
        return labels
    found, likely, cut_at = _as_volume(labels), _as_volume(scores), np.float32(level)
    along_z, along_y, along_x = _axes([grid.own_places(axis) for axis in range(labels.ndim)], labels.shape)
    offsets = np.concatenate([np.zeros((1, 3), np.int64), offsets_within(SEARCH_PX, labels.ndim, None)])
    result = np.zeros(_shape_3d(grid.shape), labels.dtype)

    def outline(rows: slice) -> None:
        _outline_rows(
            found, likely, cut_at, along_z, along_y, along_x, offsets, result, rows.start, rows.stop
        )  # fmt: skip

    yield from in_threads(outline, bands(result.shape[0] * result.shape[1], result.shape[2]), "Outlining")
    return result.reshape(grid.shape)


def _shape_3d(shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = (1,) * (3 - len(shape)) + shape
    return z, y, x


def _as_volume(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(_shape_3d(array.shape))


def _axes(
    at: Sequence[np.ndarray], given: tuple[int, ...]
) -> tuple[InterpolationWeights, InterpolationWeights, InterpolationWeights]:
    everywhere = [np.zeros(1)] * (3 - len(at)) + list(at)
    z, y, x = (interpolation_weights(exact, side) for exact, side in zip(everywhere, _shape_3d(given), strict=True))
    return z, y, x


@njit
def _interpolate_rows(volume, along_z, along_y, along_x, result, start, stop):
    """Interpolate the rows from `start` to `stop`, counted through all planes."""
    height, width = result.shape[1:]
    line = np.empty(volume.shape[2], np.float32)
    for row in range(start, stop):
        z, y = row // height, row % height
        _blend_rows(volume, along_z, along_y, z, y, line)
        for x in range(width):
            result[z, y, x] = _between(line, along_x, x)


@njit
def _outline_rows(labels, scores, level, along_z, along_y, along_x, offsets, result, start, stop):
    """Find the labels of the rows from `start` to `stop`, counted through all planes."""
    height, width = result.shape[1:]
    line = np.empty(scores.shape[2], np.float32)
    for row in range(start, stop):
        z, y = row // height, row % height
        near_z, near_y = _nearest(along_z, z), _nearest(along_y, y)
        _blend_rows(scores, along_z, along_y, z, y, line)
        for x in range(width):
            if _between(line, along_x, x) > level:
                result[z, y, x] = _nearest_label(labels, offsets, near_z, near_y, _nearest(along_x, x))


@njit
def _blend_rows(volume, along_z, along_y, z, y, line):
    """Interpolate a whole row along Y and Z, so that only X is left."""
    share_y, share_z = along_y.share[y], along_z.share[z]
    for position, plane in enumerate((along_z.low[z], along_z.high[z])):
        weight = share_z if position else np.float32(1) - share_z
        if weight == 0:  # only the second plane's can be: the pixel lies in the first
            continue
        upper, lower = volume[plane, along_y.low[y]], volume[plane, along_y.high[y]]
        if not position:
            line[:] = 0
        for x in range(len(line)):
            line[x] += weight * (upper[x] + share_y * (lower[x] - upper[x]))


@njit
def _between(line, along_x, x):
    left, right = line[along_x.low[x]], line[along_x.high[x]]
    return left + along_x.share[x] * (right - left)


@njit
def _nearest(along, index):
    return along.low[index] if along.share[index] < 0.5 else along.high[index]


@njit
def _nearest_label(labels, offsets, z, y, x):
    depth, height, width = labels.shape
    for index in range(len(offsets)):
        near_z, near_y, near_x = z + offsets[index, 0], y + offsets[index, 1], x + offsets[index, 2]
        is_inside = 0 <= near_z < depth and 0 <= near_y < height and 0 <= near_x < width
        if is_inside and labels[near_z, near_y, near_x] > 0:
            return labels[near_z, near_y, near_x]
    return 0
