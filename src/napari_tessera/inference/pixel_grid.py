"""The network's pixel grid: reading any window of an image on it, and resampling output from it to the image.

The position of a grid pixel in the image does not depend on where a window begins, so that windows fit together as if
they were cut from one rescaled image. Beyond the edge the image is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, prod
from typing import NamedTuple

import numpy as np
from scipy import sparse

from napari_tessera.algorithms.jit import njit
from napari_tessera.algorithms.watershed import offsets_within
from napari_tessera.core.blockwise import Stored
from napari_tessera.core.jobs import Job, bands, in_threads
from napari_tessera.core.tiles import Slices
from napari_tessera.inference.normalization import Levels, network_channels


@dataclass(frozen=True)
class Grid:
    """A network's grid over an image, or over a part of one."""

    shape: tuple[int, ...]  # of the image or the part, without channels
    size: tuple[int, ...]  # pixels of the network along each axis
    scale: tuple[float, ...]  # pixels of the image for each pixel of the network along each axis
    origin: tuple[float, ...]  # where the grid begins, in pixels of the image from the edge of its first one

    @classmethod
    def over(cls, shape: Sequence[int], size: Sequence[int]) -> Grid:
        """Lay `size` pixels of a network over a whole image of `shape`."""
        scale = tuple(side / pixels for side, pixels in zip(shape, size, strict=True))
        return cls(tuple(shape), tuple(size), scale, (0.0,) * len(scale))

    @property
    def share(self) -> float:
        """Pixels of the network for each pixel of the image."""
        return 1 / prod(self.scale)

    @property
    def is_image(self) -> bool:
        """Whether the pixels of the network are those of the image."""
        return self.shape == self.size and not any(self.origin)

    def image_places(self, axis: int) -> np.ndarray:
        """Return the network's pixels along an axis, in pixels of the image; 0 is the middle of its first one."""
        return self.origin[axis] + (np.arange(self.size[axis]) + 0.5) * self.scale[axis] - 0.5

    def own_places(self, axis: int) -> np.ndarray:
        """Return the image's pixels along an axis, in pixels of the network; 0 is the middle of its first one."""
        return (np.arange(self.shape[axis]) + 0.5 - self.origin[axis]) / self.scale[axis] - 0.5

    def across(self, axis: int) -> Grid:
        """Return the grid of one plane of a volume, across `axis`."""
        return Grid(*(each[:axis] + each[axis + 1 :] for each in vars(self).values()))

    def crop(self, window: Slices, steps: Sequence[int]) -> tuple[Slices, Grid]:
        """Cut out a part whose pixels of the network are the very ones of the whole.

        Along each axis, the part begins at a multiple of `steps` pixels of the network, where its pooling begins.
        Returned are what is to be read of the image, which is `window` or more, and the grid over it.
        """
        along = [self._cut_along(axis, part, step) for axis, (part, step) in enumerate(zip(window, steps, strict=True))]
        read = tuple(slice(low, high) for low, high, _, _ in along)
        origin = tuple(
            begin + first * scale - low
            for (low, _, first, _), scale, begin in zip(along, self.scale, self.origin, strict=True)
        )
        shape, size = zip(*((high - low, stop - first) for low, high, first, stop in along), strict=True)
        return read, Grid(shape, size, self.scale, origin)

    def _cut_along(self, axis: int, part: slice, step: int) -> tuple[int, int, int, int]:
        """Return from where to where to read the image, and the grid."""
        side, size, scale, origin = (values[axis] for values in (self.shape, self.size, self.scale, self.origin))
        first = max(0, floor((part.start - origin) / scale / step) * step)
        stop = min(size, max(first + 1, ceil((part.stop - origin) / scale)))
        reach = max(1.0, scale)  # a pixel of the network is made of what lies less far from its middle
        low = floor(origin + (first + 0.5) * scale - 0.5 - reach) + 1 if first else 0
        high = ceil(origin + (stop - 0.5) * scale - 0.5 + reach) if stop < size else side
        return max(0, min(low, part.start)), min(side, max(high, part.stop)), first, stop


Read = Callable[[tuple[slice, ...]], np.ndarray]
"""From a window of the image to its float32 channels (C, [Z,] Y, X)."""


def network_grid(shape: Sequence[int], factor: float | Sequence[float] = 1.0) -> Grid:
    """Lay a grid of `factor` network pixels per image pixel (one number, or one per axis) over an image.

    It has max(1, round(side·factor)) pixels along each axis.
    """
    factors = np.broadcast_to(factor, len(shape))
    return Grid.over(shape, [max(1, round(side * each)) for side, each in zip(shape, factors.tolist(), strict=True)])


def read_window(read: Read, grid: Grid, window: Sequence[tuple[int, int]]) -> np.ndarray:
    """Read a window of the grid, float32 (C, [Z,] Y, X).

    `window` is (start, stop) per axis, in pixels of the grid; beyond the grid the image is mirrored at the middle of
    the edge pixels. Only the part of the image that the window needs is read.
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
    """Return weights, a matrix (grid pixels, image pixels), and the first pixel of the image that they need.

    They give pixels of the grid at `centre` (in pixels of the image) from the `side` pixels of the image along one
    axis. Bilinear: a tent as wide as a pixel of the image or of the grid (`scale`), whichever is larger, so that
    shrinking averages.
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


@dataclass(frozen=True)
class NormalizedImage:
    """An image, or a part of one, that a network can be run on."""

    image: np.ndarray | Stored  # (Y, X) or (Z, Y, X), with channels last if `has_channels`
    levels: Levels  # of the whole image, of which this may be a part
    has_channels: bool
    spacing: tuple[float, ...]  # size of a pixel along each axis; only ratios matter
    grid: Grid | None = None  # the network's pixels, where those of the whole image are given

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes in space."""
        return self.image.shape[:-1] if self.has_channels else self.image.shape

    @property
    def ndim(self) -> int:
        """2 for a plane, 3 for a volume."""
        return len(self.shape)

    @property
    def is_stored(self) -> bool:
        """Whether the image is read piece by piece, and worked on in blocks."""
        return not isinstance(self.image, np.ndarray)

    def read(self, window: Slices) -> np.ndarray:
        """Return the network's channels of a window, float32 (C, [Z,] Y, X)."""
        return network_channels(self.image[window], self.levels, is_coloured=self.has_channels)

    def crop(self, window: Slices) -> NormalizedImage:
        """Return a part of the image, with the levels of the whole."""
        return replace(self, image=self.image[window], grid=None)

    def grid_at(self, factor: float) -> Grid:
        """Return the network's grid: the one that is given, or one of `factor` network pixels per image pixel along X.

        Pixels of the network are as far apart along all axes.
        """
        return self.grid or network_grid(self.shape, self.factors(factor))

    def plane(self, axis: int, index: int) -> NormalizedImage:
        """Return one plane of a volume, across `axis`."""
        spacing = tuple(size for other, size in enumerate(self.spacing) if other != axis)
        grid = self.grid and self.grid.across(axis)
        return replace(self, image=self.image[(slice(None),) * axis + (index,)], spacing=spacing, grid=grid)

    def factors(self, factor: float) -> tuple[float, ...]:
        """Return the network pixels per image pixel along each axis, as far apart along all; `factor` is along X."""
        return tuple(factor * size / self.spacing[-1] for size in self.spacing)


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
