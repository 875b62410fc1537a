"""Measure every object: size, position, shape and intensities, under the names of `skimage.measure.regionprops_table`.

A compiled pass adds up runs (a run is a stretch of one label along X), strip by strip in threads. Coordinates, and
intensities of up to 16 bits, are summed as integers, so that means and spreads lose no digits. Sums of squares may wrap
around: moments about the mean are differences of them, and come out right as long as they fit themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from napari_tessera.algorithms.jit import njit
from napari_tessera.core.jobs import Job, Piece, Progress, in_threads, pieces, subtask
from napari_tessera.core.rescale import UNSCALED, Scale, scaled
from napari_tessera.core.spec import Table

STRIP_PX = 1 << 20
"""Pixels between two steps of the job: a few milliseconds."""
STRIPS_AT_ONCE = 16
"""Strips whose sums are held before they are put together."""
HUGE, HUGE_UNIT = 1e150, 2.0**600
"""Half of a range beyond which squares, or sums over many pixels, are too large for float64; and the unit for it."""
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Axes whose coordinates are multiplied in the second powers."""
FIRST, SECOND, LOW, HIGH = slice(1, 4), slice(4, 10), slice(10, 13), slice(13, 16)
"""Columns of sums over z, y, x after the number of pixels: first and second powers, first pixel and last."""
COLUMNS = 16
FEW_LABELS, FEW_PIXELS = 16, 1 << 16
"""Of so few labels, in an image with more than so few pixels, each is added up over whole blocks, not run by run."""
BLOCK_PX = 256
"""Length of a block of a row: the sum of squares of positions in it fits 32 bits."""
FARTHEST = np.iinfo(np.int64).max


def measure_objects(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    *,
    channel_axis: int | None = None,
    spacing: tuple[float, ...] | None = None,
) -> Job[Table]:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : array
        (Y, X) or (Z, Y, X) integers; 0 is background.
    image : array, optional
        Intensities of the same shape, with the channels at `channel_axis`.
    channel_axis : int, optional
    spacing : tuple of float, optional
        Size of a pixel along each axis; None measures in pixels.

    Returns
    -------
    table : dict
        One row per object, labels ascending. Names and values are those of scikit-image, except where said.

        - ``label``, ``num_pixels``, and ``area``, in 3-D the volume.
        - ``equivalent_diameter_area``: of the disc or ball of that area or volume.
        - ``axis_major_length``, ``axis_minor_length``: of the ellipse or ellipsoid with the same second moments. A
          pixel counts as a square or cube (in scikit-image, as a point), so that no object is without width.
        - ``centroid-0``, ``centroid-1`` …: along z, y, x, from the centre of the first pixel, times `spacing`.
        - ``bbox-0``, ``bbox-1`` …: index of the first pixel along each axis, then of the one after the last.
        - ``touches_edge``: whether the object reaches the image's edge (not in scikit-image).
        - ``intensity_mean``, ``intensity_min``, ``intensity_max`` and ``intensity_std``; with channels
          ``intensity_mean-0``, ``intensity_mean-1`` … each.
    """
    row_count, width = math.prod(labels.shape[:-1]), labels.shape[-1]
    rows = labels.reshape(row_count, width)
    values = _channels_last(image, channel_axis, row_count, width)
    sums, scales = yield from _add_up(rows, labels.shape[-2], values)
    sizes = np.ones(labels.ndim) if spacing is None else np.array(spacing)
    table: Table = {"label": sums.numbers, **_shape_columns(sums.places, labels.shape, sizes)}
    return table if image is None else table | _intensity_columns(sums, scales, channel_axis is not None)


class _Sums(NamedTuple):
    """Sums over the pixels of each object, of a strip or of the whole image.

    `numbers` are the N labels, ascending; `places` the number of pixels and sums over coordinates, (N, COLUMNS) int64;
    `powers` the sums of intensities and of their squares, (N, C, 2), int64, or float64 in the origin and unit of the
    channel's scale; `extremes` the lowest and highest intensity.
    """

    numbers: np.ndarray
    places: np.ndarray
    powers: np.ndarray
    extremes: np.ndarray

    @classmethod
    def zeros(cls, numbers: np.ndarray, channels: int, dtype: np.dtype) -> _Sums:
        places = np.zeros((len(numbers), COLUMNS), np.int64)
        places[:, LOW] = FARTHEST
        extremes = np.empty((len(numbers), channels, 2), dtype)
        extremes[:] = (np.inf, -np.inf) if dtype.kind == "f" else (FARTHEST, -FARTHEST)
        return cls(numbers, places, np.zeros(extremes.shape, dtype), extremes)

    def chosen(self, rows: np.ndarray) -> _Sums:
        """Return the sums of some of the objects."""
        return _Sums(*(column[rows] for column in self))

    @classmethod
    def merged(cls, parts: Sequence[_Sums]) -> _Sums:
        """Return the sums of all parts of an image together."""
        numbers = np.sort(np.concatenate([part.numbers for part in parts]))
        numbers = numbers[np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]]
        whole = cls.zeros(numbers, parts[0].powers.shape[1], parts[0].powers.dtype)
        for part in parts:
            at = np.searchsorted(numbers, part.numbers)
            whole.places[at, : LOW.start] += part.places[:, : LOW.start]
            whole.places[at, LOW] = np.minimum(whole.places[at, LOW], part.places[:, LOW])
            whole.places[at, HIGH] = np.maximum(whole.places[at, HIGH], part.places[:, HIGH])
            whole.powers[at] += part.powers
            whole.extremes[at, :, 0] = np.minimum(whole.extremes[at, :, 0], part.extremes[..., 0])
            whole.extremes[at, :, 1] = np.maximum(whole.extremes[at, :, 1], part.extremes[..., 1])
        return whole


def _add_up(labels: np.ndarray, height: int, values: np.ndarray) -> Job[tuple[_Sums, list[Scale]]]:
    """Add up (R, X) labels and (R, X, C) values, where R are the rows of all planes; return the scales, too."""
    is_exact = values.dtype.kind in "iub" and values.dtype.itemsize <= 2
    dtype = np.dtype(np.int64 if is_exact else np.float64)
    channels = values.reshape(labels.size, values.shape[-1]).T
    scales = [UNSCALED if is_exact else _usual(channel) for channel in channels]
    largest = _largest_class(labels) if values.dtype in (np.uint8, bool) else 0
    total = _Sums.zeros(np.zeros(0, labels.dtype), len(scales), dtype)

    def add_objects(strip: Piece) -> _Sums:
        numbers, found, lowest = _table_rows(np.ascontiguousarray(labels[strip]))
        here, origins, differences = _summands(values[strip], scales, dtype)

        def added(summands: np.ndarray, origins: np.ndarray) -> _Sums:
            sums = _Sums.zeros(numbers, len(scales), dtype)
            _add_runs(found, lowest, strip[0].start, height, summands, origins, sums)
            return sums

        sums = added(here, origins)
        if differences is not None:
            sums = sums._replace(powers=added(differences, np.zeros_like(origins)).powers)
        return sums.chosen(sums.places[:, 0] > 0)

    def add_classes(strip: Piece) -> _Sums:
        here = _summands(values[strip], scales, dtype)[0]
        return _sum_classes(np.ascontiguousarray(labels[strip]), largest, strip[0].start, height, here)

    if values.dtype in (np.uint8, bool) and not largest:
        add_classes((slice(0, 0),))  # so that a tiny image, measured once after installing, has this compiled, too
    add_strip = add_classes if largest else add_objects
    strips = pieces((len(labels),), max(1, (STRIP_PX << 2 * (largest > 0)) // max(1, labels.shape[1])))
    if len(strips) == 1:
        yield Progress(0, 1, "Measuring")
        return add_strip(strips[0]), scales  # threads take longer to start
    for start in range(0, len(strips), STRIPS_AT_ONCE):
        some = strips[start : start + STRIPS_AT_ONCE]
        parts = yield from subtask(in_threads(add_strip, some, "Measuring"), start, len(some), len(strips))
        total = _Sums.merged([total, *parts])
    return total, scales


def _largest_class(labels: np.ndarray) -> int:
    """Return the largest label of a large image with few labels, and 0 of another."""
    if labels.size < FEW_PIXELS or labels.dtype not in (np.int32, np.int64):
        return 0
    low, high = _label_range(labels)
    return high if low > 0 and high < FEW_LABELS else 0


def _table_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Find what labels may occur, ascending; return them, labels to look up, and which label is in the first row."""
    if labels.dtype not in (np.int32, np.int64):
        labels = labels.astype(np.int64)
    low, high = _label_range(labels)
    if high - low <= labels.size:  # as of labels that are numbered in raster order
        return np.arange(low, high + 1, dtype=labels.dtype), labels, low
    numbers, rows = np.unique(np.append(0, labels), return_inverse=True)
    return numbers, rows[1:].reshape(labels.shape), 0


@njit
def _label_range(labels: np.ndarray) -> tuple[int, int]:
    """Return the lowest and the highest label of objects; 1 and 0 if there are none."""
    low, high = FARTHEST, 0
    for label in labels.flat:
        if label != 0:
            low, high = min(low, label), max(high, label)
    return min(low, high + 1), high


def _summands(
    values: np.ndarray, scales: Sequence[Scale], dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return values, their origins, and their differences from them where the kernel cannot take these itself."""
    values = np.ascontiguousarray(values.view(np.uint8) if values.dtype == bool else values)
    origins = np.array([scale.origin for scale in scales], dtype)
    is_plain = values.dtype in (np.float32, np.float64, np.int32, np.uint32) and all(
        scale.unit == 1 for scale in scales
    )
    if is_plain or dtype.kind == "i":
        return values, origins, None
    values_64 = values.astype(np.float64)
    apart = np.moveaxis(values_64 if values.dtype.kind == "f" else values, -1, 0)
    differences = [scaled(channel, scale) for channel, scale in zip(apart, scales, strict=True)]
    return values_64, origins, np.stack(differences, axis=-1)


@njit
def _add_runs(
    labels: np.ndarray, lowest: int, first_row: int, height: int, values: np.ndarray, origins: np.ndarray, sums: _Sums
) -> None:
    """Add every run of an object to the sums of its label, which are in the first row for the label `lowest`."""
    for row in range(labels.shape[0]):
        z, y = divmod(first_row + row, height)
        stop = 0
        while stop < labels.shape[1]:
            start, label = stop, labels[row, stop]
            while stop < labels.shape[1] and labels[row, stop] == label:
                stop += 1
            if label != 0:
                n = stop - start
                x = n * (start + stop - 1) // 2
                x_square = start * (2 * x - n * start) + (n - 1) * n * (2 * n - 1) // 6
                _add_moments(sums.places, label - lowest, n, z, y, x, x_square)
                _extend_box(sums.places, label - lowest, z, y, start, stop)
                _add_values(values[row, start:stop], origins, label - lowest, sums)


@njit
def _add_moments(places: np.ndarray, entry: int, n: int, z: int, y: int, x: int, x_square: int) -> None:
    """Add n pixels of one row, whose x and x² have these sums; the columns are those of `_Sums.places`."""
    places[entry, 0] += n
    places[entry, 1] += n * z
    places[entry, 2] += n * y
    places[entry, 3] += x
    places[entry, 4] += n * z * z
    places[entry, 5] += n * z * y
    places[entry, 6] += z * x
    places[entry, 7] += n * y * y
    places[entry, 8] += y * x
    places[entry, 9] += x_square


@njit
def _extend_box(places: np.ndarray, entry: int, z: int, y: int, start: int, stop: int) -> None:
    places[entry, 10] = min(places[entry, 10], z)
    places[entry, 11] = min(places[entry, 11], y)
    places[entry, 12] = min(places[entry, 12], start)
    places[entry, 13] = max(places[entry, 13], z + 1)
    places[entry, 14] = max(places[entry, 14], y + 1)
    places[entry, 15] = max(places[entry, 15], stop)


@njit
def _add_values(values: np.ndarray, origins: np.ndarray, entry: int, sums: _Sums) -> None:
    """Add the intensities of a run, (X, C)."""
    powers, extremes = sums.powers, sums.extremes
    for channel in range(values.shape[1]):
        origin = origins[channel]
        first = second = zero = origin - origin
        low, high = extremes[entry, channel, 0], extremes[entry, channel, 1]
        for x in range(len(values)):
            value = values[x, channel] + zero
            difference = value - origin
            first += difference
            second += difference * difference
            if value < low:
                low = value
            if value > high:
                high = value
        powers[entry, channel, 0] += first
        powers[entry, channel, 1] += second
        extremes[entry, channel, 0], extremes[entry, channel, 1] = low, high


def _sum_classes(labels: np.ndarray, largest: int, first_row: int, height: int, values: np.ndarray) -> _Sums:
    """Return the sums of a strip of few labels, and of values of 8 bits: noisy classes have short runs."""
    channels = values.shape[-1]
    sums = _Sums.zeros(np.arange(largest + 1, dtype=labels.dtype), channels, np.dtype(np.int64))
    counts, levels = np.zeros((largest + 1, channels, 256), np.int64), np.arange(256)
    _add_blocks(labels, first_row, height, values, sums.places, counts)
    sums.powers[..., 0], sums.powers[..., 1] = counts @ levels, counts @ levels**2
    sums.extremes[..., 0] = (counts > 0).argmax(-1)
    sums.extremes[..., 1] = 255 - (counts[..., ::-1] > 0).argmax(-1)
    return sums.chosen(sums.places[:, 0] > 0)


@njit
def _add_blocks(
    labels: np.ndarray, first_row: int, height: int, values: np.ndarray, places: np.ndarray, counts: np.ndarray
) -> None:
    """Add every row to the places of each label, block by block, and count the values of each label and channel."""
    for row in range(labels.shape[0]):
        z, y = divmod(first_row + row, height)
        for start in range(0, labels.shape[1], BLOCK_PX):
            block = labels[row, start : start + BLOCK_PX]
            for label in range(1, len(places)):
                n, x, square = _sum_places(block, np.int32(label))
                if n:
                    _add_moments(places, label, n, z, y, x + n * start, square + start * (2 * x + n * start))
                    _extend_box(places, label, z, y, *_ends(block, label, start, places[label, 12], places[label, 15]))
        for channel in range(values.shape[2]):
            for x in range(labels.shape[1]):
                counts[np.uint32(labels[row, x]), channel, values[row, x, channel]] += 1


@njit
def _sum_places(block: np.ndarray, label: np.int32) -> tuple[int, int, int]:
    """Return the number of pixels of a label, and the sums of their positions in the block and of the squares.

    The plain loop, with sums that fit 32 bits, becomes vector instructions.
    """
    count, first, second = np.int32(0), np.int32(0), np.int32(0)
    for at in range(len(block)):
        is_in, x = np.int32(block[at] == label), np.int32(at)
        count = np.int32(count + is_in)
        first = np.int32(first + np.int32(is_in * x))
        second = np.int32(second + np.int32(is_in * np.int32(x * x)))
    return int(count), int(first), int(second)


@njit
def _ends(block: np.ndarray, label: int, start: int, low: int, high: int) -> tuple[int, int]:
    """Return the first column of a label and the one after its last, as far as they lie outside of low…high."""
    first, stop = 0, len(block)
    while start + first < low and block[first] != label:
        first += 1
    while start + stop > high and block[stop - 1] != label:
        stop -= 1
    return start + first, start + stop


def _shape_columns(places: np.ndarray, shape: tuple[int, ...], sizes: np.ndarray) -> Table:
    ndim = len(shape)
    sums = np.ascontiguousarray(places.T)
    low, high = sums[LOW][-ndim:], sums[HIGH][-ndim:]
    area = sums[0] * sizes.prod()
    centroids, covariances = _moments(sums, ndim)
    minor, major = _axis_lengths(covariances, sizes)
    return {
        "num_pixels": sums[0],
        "area": area,
        "equivalent_diameter_area": (2 * ndim * area / np.pi) ** (1 / ndim),
        "axis_major_length": major,
        "axis_minor_length": minor,
        **{f"centroid-{axis}": column for axis, column in enumerate(centroids * sizes[:, None])},
        **{f"bbox-{axis}": column for axis, column in enumerate((*low, *high))},
        "touches_edge": (low == 0).any(0) | (high == np.array(shape)[:, None]).any(0),
    }


def _moments(sums: np.ndarray, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (D, N) centroids and (D, D, N) covariances in pixels, from sums about the pixel next to the centroid."""
    count, first = sums[0], sums[FIRST]
    middle = _rounded(first / count)
    rest = (first - middle * count) / count
    covariances = np.empty((3, 3, len(count)))
    for (one, other), second in zip(PAIRS, sums[SECOND], strict=True):
        if one >= 3 - ndim:
            about = second - middle[one] * first[other] - middle[other] * (first[one] - middle[one] * count)
            covariances[one, other] = covariances[other, one] = about / count - rest[one] * rest[other]
    return (middle + rest)[-ndim:], covariances[-ndim:, -ndim:]


def _axis_lengths(covariances: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shortest and longest axes of ellipses or ellipsoids whose second moments are those of the objects."""
    ndim = len(sizes)
    # A pixel is a little square, not a point: its own second moment keeps thin objects from having no width.
    covariances = (covariances + np.eye(ndim)[..., None] / 12) * (sizes[:, None] * sizes)[..., None]
    if ndim == 2:  # as below, many times faster
        half = (covariances[0, 0] + covariances[1, 1]) / 2
        spread = np.hypot((covariances[0, 0] - covariances[1, 1]) / 2, covariances[0, 1])
        moments = np.stack([half - spread, half + spread])
    else:
        moments = np.linalg.eigvalsh(np.moveaxis(covariances, -1, 0)).T
    lengths = 2 * np.sqrt((ndim + 2) * np.maximum(moments, 0))
    return lengths[0], lengths[-1]


def _intensity_columns(sums: _Sums, scales: Sequence[Scale], has_channels: bool) -> Table:
    count = sums.places[:, :1]
    if sums.powers.dtype.kind == "i":
        means, spreads = _exact_spread(sums.powers, count)
    else:
        means, spreads = _scaled_spread(sums.powers / count[..., None], scales)
    extremes = sums.extremes.astype(np.float64)
    measures = {"mean": means, "min": extremes[..., 0], "max": extremes[..., 1], "std": spreads}
    if not has_channels:
        return {f"intensity_{name}": columns[:, 0] for name, columns in measures.items()}
    return {
        f"intensity_{name}-{channel}": column
        for name, columns in measures.items()
        for channel, column in enumerate(columns.T)
    }


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.int64)


def _exact_spread(powers: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, C) means and standard deviations, from sums about the whole number next to the mean."""
    first, second = powers[..., 0], powers[..., 1]
    middle = _rounded(first / count)
    rest = (first - middle * count) / count
    variance = (second - middle * (2 * first - middle * count)) / count - rest**2
    return middle + rest, np.sqrt(np.maximum(variance, 0))


def _scaled_spread(mean_powers: np.ndarray, scales: Sequence[Scale]) -> tuple[np.ndarray, np.ndarray]:
    origins, units = np.array([(scale.origin / scale.unit, scale.unit) for scale in scales]).reshape(-1, 2).T
    mean, square = mean_powers[..., 0], mean_powers[..., 1]
    with np.errstate(over="ignore", invalid="ignore"):  # where the spread of the whole range of float64 is twice that
        deviation = np.sqrt(np.maximum(square - mean**2, 0)) * units
    return (mean + origins) * units, deviation


def _channels_last(image: np.ndarray | None, channel_axis: int | None, rows: int, width: int) -> np.ndarray:
    """Return (R, X, C) values, of no channel where there is no image."""
    if image is None:
        return np.empty((rows, width, 0), np.uint8)
    values = image[..., None] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    return values.reshape(rows, width, values.shape[-1])


def _usual(values: np.ndarray) -> Scale:
    """Return a usual value, the median of a few pixels spread over the image, and a unit whose sums do not overflow."""
    few = np.sort(values[:: max(1, values.size // 1000)])
    half = few[-1].item() / 2 - few[0].item() / 2
    return Scale(few[len(few) // 2].item(), HUGE_UNIT if half > HUGE else 1.0)
