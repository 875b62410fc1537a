"""Measure every object: size, position, shape and intensities, in physical units.

Objects are summed run by run (a run is a stretch of one label along X), so the time hardly depends on the number of
objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_tessera.core.jobs import Job, Progress
from napari_tessera.core.labels import LabelMapping, chunks, run_starts, unique_in_order
from napari_tessera.core.spatial import SHORT_UNITS
from napari_tessera.core.spec import Table
from napari_tessera.core.value_range import Scale, scaled

AXES = "zyx"
HUGE = 1e150
"""Half of a range beyond which squares, or sums over many pixels, are too large for float64."""
MEASURES = ("mean", "min", "max", "sd")


def measure_objects(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    *,
    channel_axis: int | None = None,
    spacing: tuple[float, ...] | None = None,
    unit: str = "pixel",
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
        Size of a pixel along each axis, in `unit`; None measures in pixels.
    unit : str
        Unit of `spacing`; "pixel" with a spacing means that the unit is not known.

    Returns
    -------
    table : dict
        One row per object, labels ascending; names carry the unit.

        - ``label``, ``pixels`` and ``area (µm²)``, in 3-D ``volume (µm³)``.
        - ``equivalent diameter (µm)``: of the disc or ball of that area or volume.
        - ``longest axis (µm)``, ``shortest axis (µm)``: of the ellipse or ellipsoid with the same second moments.
        - ``y (µm)``, ``x (µm)``: the centroid, counted from the centre of the first pixel.
        - ``y min (px)``, ``y max (px)`` and so on: first and last pixel. ``touches edge``: whether the object reaches
          the image's edge.
        - ``mean intensity``, ``min``, ``max`` and ``sd``; with channels ``mean intensity 1``, ``mean intensity 2`` …
    """
    channels = _flat_channels(labels, image, channel_axis)
    numbers = yield from _find_numbers(labels)
    shapes = _ShapeSums.zeros(len(numbers), labels.ndim)
    sums = [_IntensitySums.zeros(len(numbers), _usual(values)) for values in channels]
    row_of = LabelMapping(np.append(0, numbers), np.arange(-1, len(numbers)))
    flat = np.ascontiguousarray(labels).reshape(-1)
    for part in chunks(flat.size):
        yield Progress(part.start, flat.size, "Measuring")
        runs = _find_runs(flat[part], part.start, labels.shape, row_of)
        shapes.add(runs)
        for channel, values in zip(sums, channels, strict=True):
            channel.add(runs, values[part])
    table: Table = {"label": numbers, **shapes.table(labels.shape, spacing, unit)}
    for number, channel in enumerate(sums, start=1):
        table |= channel.table(shapes.pixels, "" if channel_axis is None else f" {number}")
    return table


@dataclass(frozen=True)
class _Runs:
    """Stretches of one object along X.

    Attributes
    ----------
    rows : (R,) array
        Row of the table that each run adds to.
    is_object : (S,) array of bool
        Which of all stretches, background included, the runs are.
    starts : (S,) array
        Where all stretches begin within the chunk.
    lengths : (R,) array
    places : tuple of (R,) arrays
        z, y, x of each run's first pixel.
    """

    rows: np.ndarray
    is_object: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    places: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _ShapeSums:
    """Sums over each object's pixels that sizes, centroids and axes are made of."""

    pixels: np.ndarray  # (N,)
    first: np.ndarray  # (D, N)
    second: np.ndarray  # (D, D, N)
    low: np.ndarray  # (D, N)
    high: np.ndarray  # (D, N)

    @classmethod
    def zeros(cls, count: int, ndim: int) -> _ShapeSums:
        largest = np.iinfo(np.int64).max
        low, high = np.full((ndim, count), largest), np.full((ndim, count), -1)
        return cls(np.zeros(count, np.int64), np.zeros((ndim, count)), np.zeros((ndim, ndim, count)), low, high)

    def add(self, runs: _Runs) -> None:
        n = runs.lengths
        x = runs.places[-1]
        np.add.at(self.pixels, runs.rows, n)
        sums = [*(place * n for place in runs.places[:-1]), n * x + n * (n - 1) // 2]
        squares_along_x = n * x**2 + x * n * (n - 1) + (n - 1) * n * (2 * n - 1) // 6
        for axis, place in enumerate(runs.places):
            is_x = axis == len(sums) - 1
            np.add.at(self.first[axis], runs.rows, sums[axis])
            np.minimum.at(self.low[axis], runs.rows, place)
            np.maximum.at(self.high[axis], runs.rows, place + (n - 1) * is_x)
            for other in range(axis + 1):
                product = squares_along_x if other == axis and is_x else runs.places[other] * sums[axis]
                np.add.at(self.second[axis, other], runs.rows, product)

    def table(self, shape: tuple[int, ...], spacing: tuple[float, ...] | None, unit: str) -> Table:
        ndim = len(shape)
        names, sizes = AXES[-ndim:], np.ones(ndim) if spacing is None else np.array(spacing)
        length = _length_unit(spacing, unit)
        measure, power = ("volume", "³") if ndim == 3 else ("area", "²")
        amount = self.pixels * sizes.prod()
        diameter = np.cbrt(6 * amount / np.pi) if ndim == 3 else np.sqrt(4 * amount / np.pi)
        axes = self._axis_lengths(sizes)
        centroids = self.first / self.pixels * sizes[:, None]
        touches = (self.low == 0).any(0) | (self.high == np.array(shape)[:, None] - 1).any(0)
        return {
            "pixels": self.pixels,
            f"{measure} ({length}{power})": amount,
            f"equivalent diameter ({length})": diameter,
            f"longest axis ({length})": axes[:, -1],
            f"shortest axis ({length})": axes[:, 0],
            **{f"{name} ({length})": centroid for name, centroid in zip(names, centroids, strict=True)},
            **{f"{name} min (px)": low for name, low in zip(names, self.low, strict=True)},
            **{f"{name} max (px)": high for name, high in zip(names, self.high, strict=True)},
            "touches edge": touches,
        }

    def _axis_lengths(self, sizes: np.ndarray) -> np.ndarray:
        """Return (N, D) full axis lengths, ascending, of ellipses whose second moments are those of the objects."""
        ndim = len(sizes)
        mean = self.first / self.pixels
        covariance = self.second / self.pixels - mean[:, None] * mean[None]
        # A pixel is a little square, not a point: its own second moment keeps thin objects from having no width.
        covariance += np.eye(ndim)[:, :, None] / 12
        covariance *= (sizes[:, None] * sizes[None])[:, :, None]
        moments = np.linalg.eigvalsh(np.moveaxis(covariance, -1, 0), UPLO="L")
        return 2 * np.sqrt((ndim + 2) * np.maximum(moments, 0))


@dataclass(frozen=True)
class _IntensitySums:
    """Sums over each object's intensities, counted from a usual one so that large values lose no digits."""

    scale: Scale
    first: np.ndarray
    second: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def zeros(cls, count: int, scale: Scale) -> _IntensitySums:
        return cls(scale, np.zeros(count), np.zeros(count), np.full(count, np.inf), np.full(count, -np.inf))

    def add(self, runs: _Runs, values: np.ndarray) -> None:
        if not len(runs.rows):
            return
        difference = scaled(values.astype(np.float64) if values.dtype.kind == "f" else values, self.scale)

        def per_run(summary: np.ufunc, of: np.ndarray) -> np.ndarray:
            return summary.reduceat(of, runs.starts)[runs.is_object]

        np.add.at(self.first, runs.rows, per_run(np.add, difference))
        with np.errstate(over="ignore"):  # beyond 1e154 a square is infinite; the other columns still hold
            np.add.at(self.second, runs.rows, per_run(np.add, difference**2))
        np.minimum.at(self.low, runs.rows, per_run(np.minimum, values))
        np.maximum.at(self.high, runs.rows, per_run(np.maximum, values))

    def table(self, pixels: np.ndarray, channel: str) -> Table:
        origin, unit = self.scale.origin, self.scale.unit
        mean = self.first / pixels
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.sqrt(np.maximum(self.second / pixels - mean**2, 0))
            deviation *= unit  # where that of the whole range of float64 is twice its largest number
        columns = ((mean + origin / unit) * unit, self.low, self.high, deviation)
        return {f"{name} intensity{channel}": column for name, column in zip(MEASURES, columns, strict=True)}


def _find_numbers(labels: np.ndarray) -> Job[np.ndarray]:
    flat = np.ascontiguousarray(labels).reshape(-1)
    seen = [flat[:0]]
    for part in chunks(flat.size):
        yield Progress(0, 1, "Finding objects")
        seen.append(unique_in_order(flat[part]))
    return np.unique(np.concatenate(seen))


def _find_runs(flat: np.ndarray, offset: int, shape: tuple[int, ...], row_of: LabelMapping) -> _Runs:
    width = shape[-1]
    is_start = np.zeros(flat.size, bool)
    is_start[run_starts(flat)] = True
    is_start[-offset % width :: width] = True
    starts = np.flatnonzero(is_start)
    is_object = flat[starts] != 0
    lengths = np.diff(starts, append=flat.size)[is_object]
    firsts = starts[is_object]
    return _Runs(row_of[flat[firsts]], is_object, starts, lengths, np.unravel_index(firsts + offset, shape))


def _flat_channels(labels: np.ndarray, image: np.ndarray | None, channel_axis: int | None) -> list[np.ndarray]:
    if image is None:
        return []
    channels: Iterator[np.ndarray] = iter([image] if channel_axis is None else np.moveaxis(image, channel_axis, 0))
    return [channel.reshape(-1) for channel in channels]


def _usual(values: np.ndarray) -> Scale:
    """Return a usual value, the median of a few pixels spread over the image, and a unit whose sums do not overflow."""
    few = np.sort(values[:: max(1, values.size // 1000)])
    half = few[-1].item() / 2 - few[0].item() / 2
    return Scale(few[len(few) // 2].item(), half if half > HUGE else 1.0)


def _length_unit(spacing: tuple[float, ...] | None, unit: str) -> str:
    if unit != "pixel":
        return SHORT_UNITS.get(unit, unit)
    return "px" if spacing is None or set(spacing) == {1.0} else "unit"
